// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"fmt"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// wholePath is the request for one key from its first missing node down to a depth.
func WholePath(key trie.Fault, depth int) [][][]byte {
	sets, _ := pathSets([]wireWant{{target: nodeTarget(key), depth: depth}})
	return sets
}

// bareLoop is the loop of a fetcher, run by a test that looks inside when it rests.
type bareLoop struct{ l *loop }

func NewBareLoop(f *Fetcher) bareLoop { return bareLoop{newLoop(f)} }

func (b bareLoop) Run(ctx context.Context) error { return b.l.run(ctx) }

// awaitWires returns when the goroutines of all requests have ended.
func (b bareLoop) AwaitWires() { b.l.wires.Wait() }

// wants counts those that the loop has not forgotten.
func (b bareLoop) Wants() int { return len(b.l.wants) + len(b.l.byKey) }

func (b bareLoop) Peers() int { return len(b.l.peers) }

// Leftovers says what the loop has not forgotten although nobody waits any more; empty if nothing.
func (b bareLoop) Leftovers() (left string) {
	for name, n := range map[string]int{
		"wants": b.Wants(), "requests": len(b.l.requests), "urgent waits": int(b.l.f.urgent.open.Load()),
		"roots of peers that left": max(0, len(b.l.served)-len(b.l.peers)),
	} {
		if n > 0 {
			left += fmt.Sprintf(" %d %s", n, name)
		}
	}
	return left
}
