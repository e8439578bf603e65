// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// BenchmarkBatch adds 15,000 wants at once, as a block access list of mainnet does, with 1, 5
// or 25 peers, and plays the replies.
func BenchmarkBatch(b *testing.B) {
	for _, peers := range []int{1, 5, 25} {
		b.Run(fmt.Sprintf("%d_peers", peers), func(b *testing.B) {
			requests := 0
			for b.Loop() {
				requests = batch(peers, 15_000)
			}
			b.ReportMetric(float64(requests), "requests")
		})
	}
}

func batch(peers, wants int) (requests int) {
	s, now := New(), time.Unix(0, 0)
	for i := range peers {
		s.Step(now, PeerJoined{ID: fmt.Sprint(i)})
	}
	var ev WantAdded
	for i := range wants {
		ev.Wants = append(ev.Wants, Want{ID: WantID(i + 1), Class: Urgent, Root: common.Hash{1}, Cost: 5})
	}
	actions := s.Step(now, ev)
	for len(actions) > 0 {
		a := actions[0]
		actions = actions[1:]
		if send, ok := a.(Send); ok {
			requests++
			now = now.Add(time.Millisecond)
			actions = append(actions, s.Step(now, Responded{Request: send.Request, Satisfied: send.Wants})...)
		}
	}
	return requests
}
