// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestColdReadsTakeOneTripPerKey(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewFakePeer("a", beamtest.RTT)
		r.Connect(peer)
		session := r.Session(sched.Urgent)
		reader, err := trie.Open(r.Ctx, beamtest.TheState().Root, r.Cache, session).Reader(beamtest.TheState().Root)
		if err != nil {
			t.Fatal(err)
		}
		r.Took(beamtest.RTT, func() {
			account, err := reader.Account(beamtest.AddressOf(1))
			if err != nil || account == nil || account.Balance.Uint64() != 1 {
				t.Fatal(account, err)
			}
		})
		r.Took(beamtest.RTT, func() { // the account is known now: its storage is one trip more
			value, err := reader.Storage(beamtest.AddressOf(1), beamtest.SlotOf(17))
			if err != nil || value != beamtest.ValueOf(17) {
				t.Fatal(value, err)
			}
		})
		r.Took(beamtest.RTT, func() { // a code
			code, err := session.FetchCode(r.Ctx, beamtest.TheState().Code[1])
			if err != nil || !bytes.Equal(code, beamtest.TheState().Codes[beamtest.TheState().Code[1]]) {
				t.Fatal(code, err)
			}
		})
		r.Took(0, func() { // all held
			for range 2 {
				if _, err := reader.Account(beamtest.AddressOf(1)); err != nil {
					t.Fatal(err)
				}
			}
		})
		r.Took(beamtest.RTT, func() { // an absent account is proved absent in one trip as well
			if account, err := reader.Account(common.Address{0xff}); err != nil || account != nil {
				t.Fatal(account, err)
			}
		})
		stats := session.Stats()
		if stats.Trips != 4 || stats.Faults != 4 || stats.Requests != 4 || stats.Wait != 4*beamtest.RTT || stats.Codes != 1 {
			t.Errorf("stats %+v", stats)
		}
		if stats.Nodes < 8 || stats.Bytes < 1000 {
			t.Errorf("stats %+v", stats)
		}
		if got := r.Blames.All(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestManyTravelTogether(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peers := []*beamtest.FakePeer{beamtest.NewFakePeer("a", beamtest.RTT), beamtest.NewFakePeer("b", beamtest.RTT), beamtest.NewFakePeer("c", beamtest.RTT)}
		r.Connect(peers...)
		var faults []trie.Fault
		for i := range 500 {
			faults = append(faults, beamtest.RootFault(i))
		}
		session := r.Session(sched.Predictive)
		r.Took(beamtest.RTT, func() {
			if err := session.FetchMany(r.Ctx, faults, beamtest.TheState().Code); err != nil {
				t.Fatal(err)
			}
		})
		local := trie.Open(r.Ctx, beamtest.TheState().Root, r.Cache, nothing{t})
		reader, err := local.Reader(beamtest.TheState().Root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			account, err := reader.Account(beamtest.AddressOf(i))
			if err != nil || account.Balance.Uint64() != uint64(i) {
				t.Fatal(i, account, err)
			}
		}
		if stats := session.Stats(); stats.Trips != 1 || stats.Faults != 505 || stats.Codes != beamtest.Contracts || stats.Requests > 20 {
			t.Errorf("stats %+v", stats)
		}
		for _, p := range peers {
			if p.Served() < 2 {
				t.Errorf("%s got %d requests", p.Name, p.Served())
			}
			if most := slices.Max(p.Paths); most > 512 {
				t.Errorf("%s was asked for %d paths at once", p.Name, most)
			}
		}
	})
}

func TestIdenticalWantsCoalesce(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewFakePeer("a", beamtest.RTT)
		r.Connect(peer)
		var wg sync.WaitGroup
		r.Took(beamtest.RTT, func() {
			for i := range 10 {
				class := sched.Background
				if i == 9 {
					class = sched.Urgent
				}
				wg.Go(func() {
					if _, err := r.Session(class).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
		if peer.Served() != 1 {
			t.Errorf("%d requests", peer.Served())
		}
	})
}

func TestTripsCountChains(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		r.Connect(beamtest.NewFakePeer("a", beamtest.RTT))
		session := r.Session(sched.Urgent)
		var wg sync.WaitGroup
		for g := range 3 { // three goroutines, offset, each with four waits in a row
			wg.Go(func() {
				time.Sleep(time.Duration(g) * 30 * time.Millisecond)
				for i := range 4 {
					if _, err := session.FetchCode(r.Ctx, beamtest.TheState().Code[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if stats := session.Stats(); stats.Trips != 4 || stats.Wait > 4*beamtest.RTT+60*time.Millisecond {
			t.Errorf("stats %+v", stats)
		}
	})
}
