// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// cappedMeter refuses to fetch after a number of nodes.
type cappedMeter struct {
	sync.Mutex
	limit   uint64
	open    int
	fetched trie.FetchStats
}

var errSpent = errors.New("spent")

func (m *cappedMeter) Begin() error {
	m.Lock()
	defer m.Unlock()
	if m.fetched.Nodes >= m.limit {
		return errSpent
	}
	m.open++
	return nil
}

func (m *cappedMeter) End() {
	m.Lock()
	defer m.Unlock()
	m.open--
}

func (m *cappedMeter) Fetched(stats trie.FetchStats) {
	m.Lock()
	defer m.Unlock()
	m.fetched.Add(stats)
}

// TestMeter: what a session fetches is counted, whole paths included, and refused when the meter says so, one by one or in a batch.
func TestMeter(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		r.Connect(beamtest.NewFakePeer("a", beamtest.RTT))
		state := beamtest.TheState()
		meter := &cappedMeter{limit: 5}
		ctx := trie.WithMeter(r.Ctx, meter)
		session := r.Session(sched.RPC)
		db := trie.Open(ctx, state.Root, r.Cache, session)
		reader, err := db.Reader(state.Root)
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for ; err == nil && read < 100; read++ {
			_, err = reader.Account(beamtest.AddressOf(read))
		}
		if !errors.Is(err, errSpent) || read < 2 {
			t.Fatalf("%d reads, then %v", read, err)
		}
		stats := session.Stats()
		if meter.fetched.Nodes != stats.Nodes || meter.fetched.Bytes != stats.Bytes || stats.Nodes < meter.limit || meter.open != 0 {
			t.Errorf("counted %+v of %+v, %d waits open", meter.fetched, stats, meter.open)
		}
		if err := session.FetchMany(ctx, nil, state.Code[:1]); !errors.Is(err, errSpent) {
			t.Errorf("batch: %v", err)
		}
		if _, err := session.FetchCode(r.Ctx, state.Code[1]); err != nil {
			t.Errorf("without a meter: %v", err)
		}
		if session.Stats().Requests != stats.Requests+1 {
			t.Error("what was refused was requested")
		}
	})
}
