package p2p

import (
	"errors"
	"fmt"
	"net"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// ErrPeerGone is what requests fail with once their peer is gone, whatever the reason.
// It is also a net.ErrClosed.
var ErrPeerGone = fmt.Errorf("peer gone: %w", net.ErrClosed)

// errStopped ends a peer whose context ended.
var errStopped = errors.New("stopped")

// Kind says in which way a peer broke the protocol; a closed set, used as a metric label.
type Kind int

const (
	// KindIncompatible is another network, genesis, fork or protocol version. No blame.
	KindIncompatible Kind = iota
	// KindTimeout is no handshake in time.
	KindTimeout
	// KindMalformed is a message that does not decode.
	KindMalformed
	// KindOversize is a message above 2 MiB, a response above 10 MiB.
	KindOversize
	// KindUnknownMessage is a message code that the agreed version does not have, among
	// them the block announcements that ended with the merge.
	KindUnknownMessage
	// KindUnrequested is a response to nothing that we asked, or a second one.
	KindUnrequested
	// KindExcess is more items than were asked for or than the protocol allows.
	KindExcess
	// KindInvalid is a message that decodes and contradicts itself or the protocol.
	KindInvalid
	// KindFlood is more requests than we are willing to queue.
	KindFlood
	// KindDropped is our own decision (Host.Drop), made from what the peer delivered.
	KindDropped
)

const kindCount = int(KindDropped) + 1

// String returns the kind as metrics and logs spell it.
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

// Fault is what a peer did wrong. The peer is disconnected for it. Of the requests that
// were in flight only the one whose response was faulty returns it, the others return
// ErrPeerGone, so that nobody counts a fault twice.
type Fault struct {
	Peer string // Peer.ID
	Kind Kind
	Err  error // what exactly
}

func (f *Fault) Error() string { return fmt.Sprintf("peer %.16s: %s: %v", f.Peer, f.Kind, f.Err) }

func (f *Fault) Unwrap() error { return f.Err }

// disconnectReason is what the other end is told when a peer ends because of err.
func disconnectReason(err error) gethp2p.DiscReason {
	var reason gethp2p.DiscReason
	if errors.As(err, &reason) {
		return reason
	}
	if errors.Is(err, errStopped) {
		return gethp2p.DiscQuitting
	}
	var fault *Fault
	if errors.As(err, &fault) {
		switch fault.Kind {
		case KindMalformed, KindOversize, KindUnknownMessage:
			return gethp2p.DiscProtocolError
		case KindTimeout:
			return gethp2p.DiscReadTimeout
		case KindIncompatible, KindUnrequested, KindExcess, KindInvalid, KindFlood, KindDropped:
		}
	}
	return gethp2p.DiscSubprotocolError
}
