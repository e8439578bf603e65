// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

// Blamer is told what a peer did. It must not block.
type Blamer interface {
	Blame(peer string, reason Blame, detail string)
}

// Blame is why a peer is penalized; a closed set, used as a metric label.
type Blame int

const (
	// BlameInvalid is for data that is proven wrong, or that was not requested. The peer is
	// banned and disconnected.
	BlameInvalid Blame = iota
	// BlameUseless is for a peer that serves nothing of use again and again where it should. It
	// loses its slot if another peer could take it.
	BlameUseless
	// BlameTimeout is for requests that ran into their deadline. It has no consequence by itself.
	BlameTimeout
)

// String returns the reason as metrics and logs spell it.
func (b Blame) String() string {
	switch b {
	case BlameInvalid:
		return "invalid"
	case BlameUseless:
		return "useless"
	case BlameTimeout:
		return "timeout"
	}
	return "unknown"
}
