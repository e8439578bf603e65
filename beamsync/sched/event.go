package sched

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Class is how much a want matters; higher goes first.
type Class uint8

// The classes. A block waits for an urgent want, a caller of the JSON-RPC for an rpc
// one; a predictive one is a guess, a background one belongs to the backfill.
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

// Kind is what a request asks for.
type Kind uint8

// The kinds: trie nodes (GetTrieNodes by path, or GetNodeData by hash), codes (GetByteCodes, or
// GetNodeData).
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

// WantID names a want. The caller chooses it and never uses one twice.
type WantID uint64

// RequestID names a request. The scheduler counts them up from 1.
type RequestID uint64

// Want is interest in one node (and the path below it) or one code.
type Want struct {
	ID    WantID
	Class Class
	Kind  Kind
	Root  common.Hash // state root that nodes are asked under; zero for codes
	Cost  int         // server lookups that it adds to a request holding the want before it; at least 1
}

// Event is something that happened.
type Event interface{ isEvent() }

// WantAdded hands new wants over. What is handed over together goes out together.
type WantAdded struct{ Wants []Want }

// WantCancelled says that nobody waits for some wants any longer.
type WantCancelled struct{ IDs []WantID }

// WantRaised lifts a want to a higher class; a lower one is ignored.
type WantRaised struct {
	ID    WantID
	Class Class
}

// PeerJoined adds a peer that serves state. One that serves it by hash only (GetNodeData) needs a
// trip for each level of a path, but a single lookup for each node.
type PeerJoined struct {
	ID     string
	ByHash bool
}

// PeerLeft removes a peer; what it had in flight is queued again.
type PeerLeft struct{ ID string }

// PeerHead says that a peer announced a newer head: it may have roots now that it
// did not have before.
type PeerHead struct {
	ID     string
	Number uint64
}

// Responded reports the verified reply of a request. What it satisfied counts even if the request
// was cancelled meanwhile.
type Responded struct {
	Request     RequestID
	Satisfied   []WantID // wants that the reply answered
	Unsatisfied []WantID // the other wants of the request
	Dropped     []WantID // of these, or others: nobody waits for them any longer
	Empty       bool     // not one node or code in it
	Cut         bool     // it ended before all that was asked: the server's limits
	Lied        bool     // it held something that cannot be true, or that nobody asked for
	Bytes       int      // size of the nodes or codes in it
	Items       int      // how many they were
}

// Failure is why a request got no reply.
type Failure uint8

// The failures: TimedOut: the wire layer's own deadline; Gone: the peer disconnected;
// Unsupported: it does not speak the protocol; Broken: any other error.
const (
	TimedOut Failure = iota
	Gone
	Unsupported
	Broken
)

// Failed reports that a request got no reply.
type Failed struct {
	Request RequestID
	Failure Failure
}

// Tick says that time has passed, as asked for by WakeAt. More ticks do no harm.
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

// Action is something to do.
type Action interface{ isAction() }

// Send asks for one wire request. The scheduler expects Responded or Failed for it,
// unless it cancels it or the peer leaves first.
type Send struct {
	Request RequestID
	Peer    string
	Kind    Kind
	Root    common.Hash
	Wants   []WantID
	Hedge   bool // the wants are in flight to another peer already
}

// Cancel ends a request whose deadline has passed or whose peer was expelled;
// nothing that comes of it counts any longer.
type Cancel struct{ Request RequestID }

// Reason is what a peer is blamed for.
type Reason uint8

// The reasons; see the constants of the same names in package beamsync.
const (
	Lie Reason = iota
	Useless
	Timeout
)

// String returns the reason as metrics and logs spell it.
func (r Reason) String() string {
	switch r {
	case Lie:
		return "lie"
	case Useless:
		return "useless"
	case Timeout:
		return "timeout"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Blame says that a peer did something wrong. After a Lie it has been forgotten:
// nothing more goes to it, whatever joins under its id.
type Blame struct {
	Peer   string
	Reason Reason
}

// WakeAt asks for a Tick at that time. It replaces the WakeAt before it; the zero
// time asks for none.
type WakeAt struct{ Time time.Time }

func (Send) isAction()   {}
func (Cancel) isAction() {}
func (Blame) isAction()  {}
func (WakeAt) isAction() {}
