// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Class is the priority of a want. Higher classes are sent first.
type Class uint8

// The classes. A block waits for urgent wants, a JSON-RPC call for rpc wants. Predictive
// wants are prefetched for a block that may need them; background wants belong to the state
// backfill.
const (
	Background Class = iota
	Predictive
	RPC
	Urgent

	classes = iota
)

// String returns the class as metrics and logs spell it.
func (c Class) String() string {
	switch c {
	case Background:
		return "background"
	case Predictive:
		return "predictive"
	case RPC:
		return "rpc"
	case Urgent:
		return "urgent"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Classes lists all classes, lowest first.
func Classes() []Class { return []Class{Background, Predictive, RPC, Urgent} }

// Kind is what a request is for.
type Kind uint8

// The kinds: trie nodes (GetTrieNodes by path, or GetNodeData by hash) and contract codes
// (GetByteCodes, or GetNodeData).
const (
	Node Kind = iota
	Code

	kinds = iota
)

// String returns the kind as metrics and logs spell it.
func (k Kind) String() string {
	switch k {
	case Node:
		return "node"
	case Code:
		return "code"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// WantID identifies a want. The caller chooses it and never reuses it.
type WantID uint64

// RequestID identifies a request. The scheduler counts ids up from 1.
type RequestID uint64

// Want is the interest in one trie node, with the path below it, or one contract code.
type Want struct {
	ID    WantID
	Class Class
	Kind  Kind
	Root  common.Hash // state root that trie nodes are requested under; zero for codes
	Cost  int         // server lookups that it adds to a request that holds the want before it; below 1 counts as 1
}

// Event is something that happened.
type Event interface{ isEvent() }

// WantAdded adds wants. Wants of one event share requests where class, kind and root allow.
type WantAdded struct{ Wants []Want }

// WantCancelled removes wants.
type WantCancelled struct{ IDs []WantID }

// WantRaised moves a want to a higher class. A lower one is ignored.
type WantRaised struct {
	ID    WantID
	Class Class
}

// PeerJoined adds a peer that serves state. A peer that serves it by hash only (GetNodeData)
// needs a round trip for each level of a path, but one lookup for each trie node.
type PeerJoined struct {
	ID     string
	ByHash bool
}

// PeerLeft removes a peer. Wants that were in flight to it only are queued again.
type PeerLeft struct{ ID string }

// PeerHead reports the head that a peer announced. With a newer one it may serve roots that
// it did not serve before.
type PeerHead struct {
	ID     string
	Number uint64
}

// Responded reports the verified reply to a request. The wants that it satisfied or dropped
// are removed even if the request was cancelled meanwhile.
type Responded struct {
	Request     RequestID
	Satisfied   []WantID // wants that the reply answered
	Unsatisfied []WantID // the other wants of the request
	Dropped     []WantID // wants, of the request or not, that the caller has cancelled
	Empty       bool     // it holds no item
	Cut         bool     // the limits of the server ended it early
	Invalid     bool     // it holds an item that is wrong or was not requested
	Bytes       int      // size of its items
	Items       int      // number of trie nodes or codes in it
}

// Failure is why a request got no reply.
type Failure uint8

// The failures. TimedOut is the deadline of the wire layer, Disconnected the end of the
// connection, Unsupported a peer that does not serve the kind, Broken any other error.
const (
	TimedOut Failure = iota
	Disconnected
	Unsupported
	Broken
)

// Failed reports that a request got no reply.
type Failed struct {
	Request RequestID
	Failure Failure
}

// Tick reports that time has passed, as WakeAt requests. Additional ticks do no harm.
type Tick struct{}

func (WantAdded) isEvent()     {}
func (WantCancelled) isEvent() {}
func (WantRaised) isEvent()    {}
func (PeerJoined) isEvent()    {}
func (PeerLeft) isEvent()      {}
func (PeerHead) isEvent()      {}
func (Responded) isEvent()     {}
func (Failed) isEvent()        {}
func (Tick) isEvent()          {}

// Action is something that the caller is to do.
type Action interface{ isAction() }

// Send starts a request. The scheduler expects Responded or Failed for it, unless it cancels
// the request or the peer leaves first.
type Send struct {
	Request RequestID
	Peer    string
	Kind    Kind
	Root    common.Hash
	Wants   []WantID
	Hedge   bool // the wants are in flight to other peers already: a hedge, race or probe
}

// Cancel ends a request whose deadline has passed or whose peer left or sent invalid data. A reply
// that arrives later tells nothing about the peer; the wants that it satisfies still count.
type Cancel struct{ Request RequestID }

// Reason is what a peer is blamed for.
type Reason uint8

// The reasons. InvalidResponse is an item that is wrong or was not requested, Useless is
// empty replies again and again under roots that other peers serve, Timeout is a request
// that was not answered in time.
const (
	InvalidResponse Reason = iota
	Useless
	Timeout
)

// String returns the reason as metrics and logs spell it.
func (r Reason) String() string {
	switch r {
	case InvalidResponse:
		return "invalid response"
	case Useless:
		return "useless"
	case Timeout:
		return "timeout"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Blame reports that a peer misbehaved. After InvalidResponse the scheduler has forgotten
// it as after PeerLeft: the caller bans it, and reports no PeerJoined while it is banned.
type Blame struct {
	Peer   string
	Reason Reason
}

// WakeAt requests a Tick at a time. It replaces the WakeAt before it. The zero time requests
// none.
type WakeAt struct{ Time time.Time }

func (Send) isAction()   {}
func (Cancel) isAction() {}
func (Blame) isAction()  {}
func (WakeAt) isAction() {}
