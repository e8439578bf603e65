// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestCancellationIsPrompt(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(r.Ctx)
		time.AfterFunc(30*time.Millisecond, func() { cancel(cause) })
		r.Took(30*time.Millisecond, func() { // nobody there at all
			if _, err := r.Session(sched.Urgent).FetchNode(ctx, beamtest.RootFault(1)); !errors.Is(err, cause) {
				t.Error(err)
			}
		})
		peer := beamtest.NewFakePeer("a", beamtest.RTT)
		r.Connect(peer)
		// One of two callers goes; the other still gets it. A want of nobody is forgotten.
		short, cancel2 := context.WithTimeout(r.Ctx, 10*time.Millisecond)
		defer cancel2()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Session(sched.RPC).FetchNode(short, beamtest.RootFault(2)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		r.Took(beamtest.RTT, func() {
			if _, err := r.Session(sched.Urgent).FetchNode(r.Ctx, beamtest.RootFault(2)); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if peer.Served() != 1 {
			t.Errorf("%d requests", peer.Served())
		}
	})
}

func TestStoppedFetcherSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fetch.New(fetch.Config{Local: trie.NewCache(1<<20, nil)})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		go func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		if _, err := f.Session(sched.Urgent).FetchNode(t.Context(), beamtest.RootFault(1)); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if _, err := f.Headers(t.Context(), common.Hash{1}, 1); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if err := f.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

// TestBrokenStoreEndsRun: what cannot be kept is no reason to go on.
func TestBrokenStoreEndsRun(t *testing.T) {
	beamtest.TheState()
	synctest.Test(t, func(t *testing.T) {
		disk := errors.New("disk full")
		f := fetch.New(fetch.Config{Local: brokenStore{trie.NewCache(1<<20, nil), disk}})
		ended := make(chan error, 1)
		go func() { ended <- f.Run(t.Context()) }()
		f.Join(beamtest.NewFakePeer("a", beamtest.RTT))
		if _, err := f.Session(sched.Urgent).FetchNode(t.Context(), beamtest.RootFault(1)); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, disk) {
			t.Error(err)
		}
	})
}

type brokenStore struct {
	*trie.Cache
	err error
}

func (b brokenStore) PutNodes([]trie.Node) error { return b.err }

func TestMetricsAreCounted(t *testing.T) {
	beamtest.TheState()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := fetch.New(fetch.Config{Local: trie.NewCache(1<<20, nil), Registerer: reg})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		f.Join(beamtest.NewFakePeer("a", beamtest.RTT))
		if _, err := f.Session(sched.Urgent).FetchNode(ctx, beamtest.RootFault(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]float64{
			"beam_faults_total": 1, "beam_round_trips_total": 1, "beam_requests_total": 1,
			"beam_inflight_requests": 0,
		} {
			if got := sumOf(families, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if sumOf(families, "beam_nodes_total") < 3 || sumOf(families, "beam_bytes_total") < 500 {
			t.Error("nodes and bytes not counted")
		}
	})
}

func sumOf(families []*dto.MetricFamily, name string) (sum float64) {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	return -1
}
