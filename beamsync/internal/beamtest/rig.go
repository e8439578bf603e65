// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func (r *Rig) DisconnectAfter(p *FakePeer, d time.Duration) {
	time.AfterFunc(d, func() { r.Disconnect(p) })
}

// rig is a running fetcher with an empty store.
type Rig struct {
	*fetch.Fetcher
	T      *testing.T
	Ctx    context.Context // ends with the test
	Cache  *trie.Cache
	Blames *Blames
	Book   *peer.Book
}

// inBubble runs a test in virtual time; everything that it started must have ended when
// it returns, or synctest fails it.
func InBubble(t *testing.T, test func(r *Rig)) {
	t.Helper()
	TheState()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		r := &Rig{T: t, Ctx: ctx, Cache: trie.NewCache(64<<20, nil), Blames: new(Blames)}
		r.Book = peer.NewBook(peer.BookConfig{Blamer: r.Blames, Log: log})
		r.Fetcher = fetch.New(fetch.Config{Local: r.Cache, Book: r.Book, Log: log})
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		test(r)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *Rig) Connect(peers ...*FakePeer) {
	for _, p := range peers {
		r.Join(p)
	}
	synctest.Wait()
}

func (r *Rig) Disconnect(p *FakePeer) {
	close(p.Gone)
	r.Leave(p.Name)
}

// took checks how long something took in virtual time, which is exact.
func (r *Rig) Took(want time.Duration, do func()) {
	r.T.Helper()
	began := time.Now()
	do()
	if got := time.Since(began); got != want {
		r.T.Errorf("took %v, want %v", got, want)
	}
}
