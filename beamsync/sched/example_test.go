// SPDX-License-Identifier: LGPL-3.0-or-later

package sched_test

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// Two peers join. No request to them has ended, so an urgent want is raced. The peer that
// replies first is trusted from then on and gets the next want alone: the other one is
// still busy, so it is not even probed.
func Example() {
	var (
		s     = sched.New()
		start = time.Unix(0, 0)
		now   = start
		root  = common.HexToHash("0x01")
	)
	step := func(ev sched.Event) {
		fmt.Printf("%v %T\n", now.Sub(start), ev)
		for _, action := range s.Step(now, ev) {
			switch a := action.(type) {
			case sched.Send:
				fmt.Printf("  send request %d for wants %v to %s, hedge: %v\n", a.Request, a.Wants, a.Peer, a.Hedge)
			case sched.WakeAt:
				fmt.Printf("  wake at %v\n", a.Time.Sub(start))
			case sched.Cancel:
				fmt.Printf("  cancel request %d\n", a.Request)
			case sched.Blame:
				fmt.Printf("  blame %s: %v\n", a.Peer, a.Reason)
			}
		}
	}

	step(sched.PeerJoined{ID: "alice"})
	step(sched.PeerJoined{ID: "bob"})
	step(sched.WantAdded{Wants: []sched.Want{{ID: 7, Class: sched.Urgent, Kind: sched.Node, Root: root, Cost: 1}}})

	now = start.Add(50 * time.Millisecond)
	step(sched.Responded{Request: 2, Satisfied: []sched.WantID{7}})
	step(sched.WantAdded{Wants: []sched.Want{{ID: 8, Class: sched.Urgent, Kind: sched.Node, Root: root, Cost: 1}}})

	// Output:
	// 0s sched.PeerJoined
	// 0s sched.PeerJoined
	// 0s sched.WantAdded
	//   send request 1 for wants [7] to alice, hedge: false
	//   send request 2 for wants [7] to bob, hedge: true
	//   wake at 400ms
	// 50ms sched.Responded
	//   wake at 5.2s
	// 50ms sched.WantAdded
	//   send request 3 for wants [8] to bob, hedge: false
	//   wake at 250ms
}
