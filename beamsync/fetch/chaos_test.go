// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestNothingIsLeft lets callers come and go, share wants, guess wrong and give up, while peers stall, cut, lack, break,
// hang up and return: whoever does not give up gets what is true, and when all are gone the loop has forgotten all of them.
func TestNothingIsLeft(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { nothingIsLeft(t, seed) })
	}
}

func nothingIsLeft(t *testing.T, seed uint64) {
	beamtest.TheState()
	synctest.Test(t, func(t *testing.T) {
		var (
			rng         = rand.New(rand.NewPCG(seed, 3))
			cache       = trie.NewCache(200_000, nil) // forgets: what was fetched is asked for again
			f           = fetch.New(fetch.Config{Local: cache, Book: peer.NewBook(peer.BookConfig{Blamer: new(beamtest.Blames)})})
			l           = fetch.NewBareLoop(f)
			ctx, cancel = context.WithCancel(t.Context())
			ended       = make(chan error, 1)
			peers       [5]*beamtest.FakePeer
			callers     sync.WaitGroup
		)
		go func() { ended <- l.Run(ctx) }()
		join := func(i int) {
			p, random := beamtest.NewFakePeer(fmt.Sprint("peer", i, ".", rng.IntN(1000)), time.Duration(20+rng.IntN(300))*time.Millisecond), rand.New(rand.NewPCG(seed, rng.Uint64()))
			p.Lookups = 60 + rng.IntN(1000)
			var mu sync.Mutex
			dice := func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
			p.Mangle = func(_ int, blobs [][]byte) ([][]byte, error) {
				switch dice(12) {
				case 0:
					return nil, nil
				case 1:
					return nil, errors.New("broken")
				case 2:
					return blobs[:dice(len(blobs)+1)], nil
				}
				return blobs, nil
			}
			p.Stall = func(int) bool { return dice(40) == 0 }
			p.Slow = func(int) time.Duration { return time.Duration(dice(1+dice(3000))) * time.Millisecond }
			if peers[i] = p; i > 0 {
				f.Join(p)
				return
			}
			p.Stall = nil
			f.Join(deafPeer{p, p.Rtt}) // what it has begun to say it says to the end
		}
		for i := range peers {
			join(i)
		}
		for range 150 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			if rng.IntN(6) == 0 {
				i := rng.IntN(len(peers))
				if i > 0 {
					close(peers[i].Gone)
				}
				f.Leave(peers[i].Name)
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
				join(i)
			}
			session := f.Session(sched.Classes()[rng.IntN(4)])
			one, stop := context.WithCancel(ctx)
			if rng.IntN(2) == 0 {
				time.AfterFunc(time.Duration(rng.IntN(800))*time.Millisecond, stop)
			}
			var faults []trie.Fault
			for range rng.IntN(20) {
				fault := beamtest.RootFault(rng.IntN(40))
				switch rng.IntN(6) {
				case 0: // nobody has that state
					fault.Root[0]++
				case 2, 3:
					fault = beamtest.RootFault(rng.IntN(beamtest.Contracts))
					for range 1 + rng.IntN(4) {
						fault.StorageKeys = append(fault.StorageKeys, crypto.Keccak256Hash(beamtest.SlotOf(rng.IntN(beamtest.SlotsEach)).Bytes()))
					}
				}
				faults = append(faults, fault)
			}
			codes := []common.Hash{beamtest.TheState().Code[rng.IntN(beamtest.Contracts)], {byte(rng.IntN(2))}}[:rng.IntN(3)]
			kind, key := rng.IntN(3), rng.IntN(40)
			callers.Go(func() {
				defer stop()
				switch kind {
				case 0:
					fault := beamtest.RootFault(key)
					blob, err := session.FetchNode(one, fault)
					if err == nil && crypto.Keccak256Hash(blob) != fault.Hash || err != nil && one.Err() == nil {
						t.Errorf("%d bytes, %v", len(blob), err)
					}
				case 1:
					code, err := session.FetchCode(one, beamtest.TheState().Code[0])
					if err == nil && crypto.Keccak256Hash(code) != beamtest.TheState().Code[0] || err != nil && one.Err() == nil {
						t.Errorf("%d bytes, %v", len(code), err)
					}
				case 2:
					if err := session.Hint(one, faults, codes, nil); err != nil && one.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		synctest.Wait()
		if left := l.Wants(); left > 0 {
			t.Errorf("%d wants", left)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if left := l.Leftovers(); left != "" || l.Peers() != len(peers) {
			t.Errorf("left: %s, and %d peers", left, l.Peers())
		}
		for i := range peers {
			f.Leave(peers[i].Name)
		}
		synctest.Wait()
		if left := l.Leftovers(); left != "" || l.Peers() > 0 {
			t.Errorf("left: %s, and %d peers", left, l.Peers())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		l.AwaitWires()
	})
}
