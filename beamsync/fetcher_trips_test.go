package beamsync

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestColdReadsTakeOneTripPerKey(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newFakePeer("a", rtt)
		r.join(peer)
		session := r.Session(sched.Urgent)
		reader, err := trie.Open(r.ctx, theBag().root, r.cache, session).Reader(theBag().root)
		if err != nil {
			t.Fatal(err)
		}
		r.took(rtt, func() {
			account, err := reader.Account(bagAddress(1))
			if err != nil || account == nil || account.Balance.Uint64() != 1 {
				t.Fatal(account, err)
			}
		})
		r.took(rtt, func() { // the account is known now: its storage is one trip more
			value, err := reader.Storage(bagAddress(1), bagSlot(17))
			if err != nil || value != bagValue(17) {
				t.Fatal(value, err)
			}
		})
		r.took(rtt, func() { // a code
			code, err := session.FetchCode(r.ctx, theBag().code[1])
			if err != nil || !bytes.Equal(code, theBag().codes[theBag().code[1]]) {
				t.Fatal(code, err)
			}
		})
		r.took(0, func() { // all held
			for range 2 {
				if _, err := reader.Account(bagAddress(1)); err != nil {
					t.Fatal(err)
				}
			}
		})
		r.took(rtt, func() { // an absent account is proved absent in one trip as well
			if account, err := reader.Account(common.Address{0xff}); err != nil || account != nil {
				t.Fatal(account, err)
			}
		})
		stats := session.Stats()
		if stats.Trips != 4 || stats.Faults != 4 || stats.Requests != 4 || stats.Wait != 4*rtt || stats.Codes != 1 {
			t.Errorf("stats %+v", stats)
		}
		if stats.Nodes < 8 || stats.Bytes < 1000 {
			t.Errorf("stats %+v", stats)
		}
		if got := r.blames.all(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestManyTravelTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		peers := []*fakePeer{newFakePeer("a", rtt), newFakePeer("b", rtt), newFakePeer("c", rtt)}
		r.join(peers...)
		var faults []trie.Fault
		for i := range 500 {
			faults = append(faults, rootFault(i))
		}
		session := r.Session(sched.Predictive)
		r.took(rtt, func() {
			if err := session.FetchMany(r.ctx, faults, theBag().code); err != nil {
				t.Fatal(err)
			}
		})
		local := trie.Open(r.ctx, theBag().root, r.cache, nothing{t})
		reader, err := local.Reader(theBag().root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			account, err := reader.Account(bagAddress(i))
			if err != nil || account.Balance.Uint64() != uint64(i) {
				t.Fatal(i, account, err)
			}
		}
		if stats := session.Stats(); stats.Trips != 1 || stats.Faults != 505 || stats.Codes != bagContracts || stats.Requests > 20 {
			t.Errorf("stats %+v", stats)
		}
		for _, p := range peers {
			if p.served() < 2 {
				t.Errorf("%s got %d requests", p.id, p.served())
			}
			if most := slices.Max(p.paths); most > 512 {
				t.Errorf("%s was asked for %d paths at once", p.id, most)
			}
		}
	})
}

func TestStorageOfOneContractIsOneSet(t *testing.T) {
	owner, root := common.Hash{1}, common.Hash{2}
	var asks []ask
	for i := range 50 {
		key := trie.Nibbles(crypto.Keccak256Hash([]byte{byte(i)}))
		asks = append(asks, ask{target: nodeTarget(trie.Fault{Root: root, Owner: owner, Key: key}), depth: 6})
		asks = append(asks, ask{target: nodeTarget(trie.Fault{Root: root, Key: key}), depth: 6})
	}
	sets, paths := pathSets(asks)
	count, seen, storage := 0, make(map[string]bool), 0
	for _, set := range sets {
		if len(set) == 1 {
			count++
			if seen[string(set[0])] {
				t.Fatal("an account path twice")
			}
			seen[string(set[0])] = true
			continue
		}
		storage++
		if !bytes.Equal(set[0], owner[:]) {
			t.Fatal("set of a foreign owner")
		}
		count += len(set) - 1
		if !slices.IsSortedFunc(set[1:], func(a, b []byte) int { return len(a) - len(b) }) {
			t.Error("longer paths before shorter ones")
		}
	}
	if storage != 1 || count != paths || paths%2 != 0 {
		t.Errorf("%d storage sets, %d paths, said %d", storage, count, paths)
	}
}

func TestIdenticalWantsCoalesce(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newFakePeer("a", rtt)
		r.join(peer)
		var wg sync.WaitGroup
		r.took(rtt, func() {
			for i := range 10 {
				class := sched.Background
				if i == 9 {
					class = sched.Urgent
				}
				wg.Go(func() {
					if _, err := r.Session(class).FetchNode(r.ctx, rootFault(1)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
		if peer.served() != 1 {
			t.Errorf("%d requests", peer.served())
		}
	})
}

func TestTripsCountChains(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.join(newFakePeer("a", rtt))
		session := r.Session(sched.Urgent)
		var wg sync.WaitGroup
		for g := range 3 { // three goroutines, offset, each with four waits in a row
			wg.Go(func() {
				time.Sleep(time.Duration(g) * 30 * time.Millisecond)
				for i := range 4 {
					if _, err := session.FetchCode(r.ctx, theBag().code[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if stats := session.Stats(); stats.Trips != 4 || stats.Wait > 4*rtt+60*time.Millisecond {
			t.Errorf("stats %+v", stats)
		}
	})
}
