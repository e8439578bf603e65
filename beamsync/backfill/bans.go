package backfill

import "github.com/sunbeam-eth/sunbeam/beamsync/peer"

// bans are the IDs of peers that sent invalid data. It is not safe for concurrent use: the owner's lock guards it.
type bans map[string]bool

// has says whether a peer is banned.
func (b bans) has(id string) bool { return b[id] }

// add bans a peer. It returns false if the peer is banned already: responses to several requests may be invalid. A full
// list starts over.
func (b bans) add(id string) bool {
	if b[id] {
		return false
	}
	if len(b) >= peer.MaxBanned {
		clear(b)
	}
	b[id] = true
	return true
}
