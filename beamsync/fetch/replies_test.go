// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestEveryChangedByteIsALie: wherever one bit of a reply is wrong, its peer is blamed,
// nothing of it is believed, and another one answers.
func TestEveryChangedByteIsALie(t *testing.T) {
	key := beamtest.RootFault(1)
	blobs := beamtest.TheState().TrieNodes(key.Root, fetch.WholePath(key, 8), 1024)
	for i, blob := range blobs {
		if len(blob) == 0 {
			continue
		}
		for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1} {
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				bad := beamtest.NewFakePeer("bad", beamtest.RTT)
				bad.Mangle = func(_ int, blobs [][]byte) ([][]byte, error) {
					blobs[i] = bytes.Clone(blobs[i])
					blobs[i][at] ^= 1
					return blobs, nil
				}
				honest := beamtest.NewFakePeer("honest", beamtest.RTT)
				r.Connect(bad)
				time.AfterFunc(10*time.Millisecond, func() { r.Join(honest) })
				reader, err := trie.Open(r.Ctx, key.Root, r.Cache, r.Session(sched.Urgent)).Reader(key.Root)
				if err != nil {
					t.Fatal(err)
				}
				account, err := reader.Account(beamtest.AddressOf(1))
				if err != nil || account.Balance.Uint64() != 1 {
					t.Fatal(account, err)
				}
				if got := r.Blames.All(); !slices.Equal(got, []string{"bad:invalid"}) {
					t.Errorf("blob %d byte %d: blames %v", i, at, got)
				}
				n := bad.Served()
				r.Join(bad) // it is banned
				if _, err := reader.Account(beamtest.AddressOf(2)); err != nil {
					t.Fatal(err)
				}
				if bad.Served() != n {
					t.Error("a banned peer was asked again")
				}
			})
		}
	}
}

// TestWrongCodeIsALie and so is one that nobody asked for.
func TestWrongCodeIsALie(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		bad := beamtest.NewFakePeer("bad", beamtest.RTT)
		bad.Mangle = func(_ int, codes [][]byte) ([][]byte, error) { return append(codes, []byte{1, 2, 3}), nil }
		r.Connect(bad)
		if _, err := r.Session(sched.Urgent).FetchCode(r.Ctx, beamtest.TheState().Code[0]); err != nil {
			t.Fatal(err) // the true code in it counts
		}
		synctest.Wait()
		if got := r.Blames.All(); !slices.Equal(got, []string{"bad:invalid"}) {
			t.Error("blames", got)
		}
	})
}

// TestAnyOrderAndPosition: replies are matched by hash, so shifted, shuffled and repeated
// entries are as good as those in place.
func TestAnyOrderAndPosition(t *testing.T) {
	for name, mangle := range map[string]func([][]byte) [][]byte{
		"reversed":      func(b [][]byte) [][]byte { slices.Reverse(b); return b },
		"without empty": func(b [][]byte) [][]byte { return slices.DeleteFunc(b, func(x []byte) bool { return len(x) == 0 }) },
		"shifted":       func(b [][]byte) [][]byte { return append([][]byte{nil, nil}, b...) },
		"repeated":      func(b [][]byte) [][]byte { return append(b, b...) },
	} {
		t.Run(name, func(t *testing.T) {
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				peer := beamtest.NewFakePeer("a", beamtest.RTT)
				peer.Mangle = func(_ int, b [][]byte) ([][]byte, error) { return mangle(b), nil }
				r.Connect(peer)
				session := r.Session(sched.Urgent)
				reader, _ := trie.Open(r.Ctx, beamtest.TheState().Root, r.Cache, session).Reader(beamtest.TheState().Root)
				value, err := reader.Storage(beamtest.AddressOf(2), beamtest.SlotOf(3))
				if err != nil || value != beamtest.ValueOf(3) {
					t.Fatal(value, err)
				}
				if stats := session.Stats(); stats.Trips != 2 || len(r.Blames.All()) != 0 {
					t.Errorf("stats %+v, blames %v", stats, r.Blames.All())
				}
			})
		})
	}
}

// TestTruncatedReplies: whatever a server's limits cut off is asked for again; the peer
// is not blamed, and its requests get smaller.
func TestTruncatedReplies(t *testing.T) {
	for _, lookups := range []int{1, 5, 60, 300} {
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			peer := beamtest.NewFakePeer("a", beamtest.RTT)
			peer.Lookups = lookups
			r.Connect(peer)
			var faults []trie.Fault
			for i := range 60 {
				faults = append(faults, beamtest.RootFault(i))
			}
			ctx, cancel := context.WithTimeout(r.Ctx, 5*time.Minute)
			defer cancel()
			session := r.Session(sched.Urgent)
			if err := session.FetchMany(ctx, faults, nil); err != nil {
				t.Fatalf("%d lookups: %v", lookups, err)
			}
			reader, _ := trie.Open(ctx, beamtest.TheState().Root, r.Cache, session).Reader(beamtest.TheState().Root)
			for i := range 60 {
				account, err := reader.Account(beamtest.AddressOf(i))
				if err != nil || account.Balance.Uint64() != uint64(i) {
					t.Fatal(i, account, err)
				}
			}
			if got := r.Blames.All(); len(got) != 0 {
				t.Error("blames", got)
			}
			t.Logf("%d lookups a request: %+v", lookups, session.Stats())
		})
	}
}
