package beamsync

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestEveryChangedByteIsALie: wherever one bit of a reply is wrong, its peer is blamed,
// nothing of it is believed, and another one answers.
func TestEveryChangedByteIsALie(t *testing.T) {
	key := rootFault(1)
	blobs := theBag().trieNodes(key.Root, wholePath(key, 8), 1024)
	for i, blob := range blobs {
		if len(blob) == 0 {
			continue
		}
		for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1} {
			inBubble(t, func(r *rig) {
				liar := newFakePeer("liar", rtt)
				liar.mangle = func(_ int, blobs [][]byte) ([][]byte, error) {
					blobs[i] = bytes.Clone(blobs[i])
					blobs[i][at] ^= 1
					return blobs, nil
				}
				honest := newFakePeer("honest", rtt)
				r.join(liar)
				time.AfterFunc(10*time.Millisecond, func() { r.Join(honest) })
				reader, err := trie.Open(r.ctx, key.Root, r.cache, r.Session(sched.Urgent)).Reader(key.Root)
				if err != nil {
					t.Fatal(err)
				}
				account, err := reader.Account(bagAddress(1))
				if err != nil || account.Balance.Uint64() != 1 {
					t.Fatal(account, err)
				}
				if got := r.blames.all(); !slices.Equal(got, []string{"liar:lie"}) {
					t.Errorf("blob %d byte %d: blames %v", i, at, got)
				}
				n := liar.served()
				r.Join(liar) // under its old name it is not welcome
				if _, err := reader.Account(bagAddress(2)); err != nil {
					t.Fatal(err)
				}
				if liar.served() != n {
					t.Error("the liar was asked again")
				}
			})
		}
	}
}

// TestWrongCodeIsALie and so is one that nobody asked for.
func TestWrongCodeIsALie(t *testing.T) {
	inBubble(t, func(r *rig) {
		liar := newFakePeer("liar", rtt)
		liar.mangle = func(_ int, codes [][]byte) ([][]byte, error) { return append(codes, []byte{1, 2, 3}), nil }
		r.join(liar)
		if _, err := r.Session(sched.Urgent).FetchCode(r.ctx, theBag().code[0]); err != nil {
			t.Fatal(err) // the true code in it counts
		}
		synctest.Wait()
		if got := r.blames.all(); !slices.Equal(got, []string{"liar:lie"}) {
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
			inBubble(t, func(r *rig) {
				peer := newFakePeer("a", rtt)
				peer.mangle = func(_ int, b [][]byte) ([][]byte, error) { return mangle(b), nil }
				r.join(peer)
				session := r.Session(sched.Urgent)
				reader, _ := trie.Open(r.ctx, theBag().root, r.cache, session).Reader(theBag().root)
				value, err := reader.Storage(bagAddress(2), bagSlot(3))
				if err != nil || value != bagValue(3) {
					t.Fatal(value, err)
				}
				if stats := session.Stats(); stats.Trips != 2 || len(r.blames.all()) != 0 {
					t.Errorf("stats %+v, blames %v", stats, r.blames.all())
				}
			})
		})
	}
}

// TestTruncatedReplies: whatever a server's limits cut off is asked for again; the peer
// is not blamed, and its requests get smaller.
func TestTruncatedReplies(t *testing.T) {
	for _, lookups := range []int{1, 5, 60, 300} {
		inBubble(t, func(r *rig) {
			peer := newFakePeer("a", rtt)
			peer.lookups = lookups
			r.join(peer)
			var faults []trie.Fault
			for i := range 60 {
				faults = append(faults, rootFault(i))
			}
			ctx, cancel := context.WithTimeout(r.ctx, 5*time.Minute)
			defer cancel()
			session := r.Session(sched.Urgent)
			if err := session.FetchMany(ctx, faults, nil); err != nil {
				t.Fatalf("%d lookups: %v", lookups, err)
			}
			reader, _ := trie.Open(ctx, theBag().root, r.cache, session).Reader(theBag().root)
			for i := range 60 {
				account, err := reader.Account(bagAddress(i))
				if err != nil || account.Balance.Uint64() != uint64(i) {
					t.Fatal(i, account, err)
				}
			}
			if got := r.blames.all(); len(got) != 0 {
				t.Error("blames", got)
			}
			t.Logf("%d lookups a request: %+v", lookups, session.Stats())
		})
	}
}
