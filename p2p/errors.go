// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"errors"
	"fmt"
	"net"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// ErrPeerGone is the error of requests to a peer that has disconnected, for whatever reason.
// It is also a net.ErrClosed.
var ErrPeerGone = fmt.Errorf("peer gone: %w", net.ErrClosed)

// errStopped is why a peer ends when its context ends.
var errStopped = errors.New("stopped")

// Kind is the kind of a protocol error; a closed set, used as a metric label.
type Kind int

const (
	// KindIncompatible is another network, genesis, fork or protocol version. It is no
	// misbehavior.
	KindIncompatible Kind = iota
	// KindTimeout is a handshake that takes too long.
	KindTimeout
	// KindMalformed is a message that cannot be decoded.
	KindMalformed
	// KindOversize is a message, or an item of one, above the limit of its kind; a response above
	// what its request allows.
	KindOversize
	// KindUnknownMessage is a message code that the agreed version does not have, including
	// the block announcements from before the merge.
	KindUnknownMessage
	// KindUnrequested is a response without a request, or a second one.
	KindUnrequested
	// KindExcess is more items than requested or than the protocol allows.
	KindExcess
	// KindInvalid is a decodable message that contradicts itself or the protocol.
	KindInvalid
	// KindFlood is more requests than the queue holds.
	KindFlood
	// KindDropped is the node's own decision (Host.Drop), because of the data that the peer
	// sent.
	KindDropped
)

const kindCount = int(KindDropped) + 1

// String returns the kind as metrics and logs show it.
func (k Kind) String() string {
	switch k {
	case KindIncompatible:
		return "incompatible"
	case KindTimeout:
		return "timeout"
	case KindMalformed:
		return "malformed"
	case KindOversize:
		return "oversize"
	case KindUnknownMessage:
		return "unknown_message"
	case KindUnrequested:
		return "unrequested"
	case KindExcess:
		return "excess"
	case KindInvalid:
		return "invalid"
	case KindFlood:
		return "flood"
	case KindDropped:
		return "dropped"
	}
	return "unknown"
}

// ProtocolError is a violation of the protocol by a peer, which is disconnected for it. Of the
// requests in flight only the one with the invalid response returns it. The others return
// ErrPeerGone, so that callers count the violation once.
type ProtocolError struct {
	Peer string // Peer.ID
	Kind Kind
	Err  error // the detail
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("peer %.16s: %s: %v", e.Peer, e.Kind, e.Err)
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// disconnectReason is the reason sent to the other end when a peer ends because of err.
func disconnectReason(err error) gethp2p.DiscReason {
	var reason gethp2p.DiscReason
	if errors.As(err, &reason) {
		return reason
	}
	if errors.Is(err, errStopped) {
		return gethp2p.DiscQuitting
	}
	var violation *ProtocolError
	if errors.As(err, &violation) {
		switch violation.Kind {
		case KindMalformed, KindOversize, KindUnknownMessage:
			return gethp2p.DiscProtocolError
		case KindTimeout:
			return gethp2p.DiscReadTimeout
		case KindIncompatible, KindUnrequested, KindExcess, KindInvalid, KindFlood, KindDropped:
		}
	}
	return gethp2p.DiscSubprotocolError
}
