// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// slowReads lets each fetch take a time.
func slowReads(n *fakeNode, d time.Duration) { n.states.delay = d }

// TestPauseDuringImports: traces and other calls that take long pause while a block is imported; a call that is quick does not,
// and neither does anything for ever.
func TestPauseDuringImports(t *testing.T) {
	mainChain()
	const imported = 300 * time.Millisecond
	for name, test := range map[string]struct {
		call   rpcCall
		reads  time.Duration // each
		busy   time.Duration // from the begin
		within time.Duration // from the end of busy, or from the begin if it does not pause
		pauses bool
	}{
		"trace":       {rpcCall{"debug_traceBlockByNumber", []any{"0x5"}}, 0, imported, 2 * busyPoll, true},
		"parity":      {rpcCall{"trace_block", []any{"0x5"}}, 0, imported, 2 * busyPoll, true},
		"quick query": {rpcCall{"eth_getBalance", []any{userAddr, "latest"}}, 0, imported, 0, false},
		"quick call":  {rpcCall{"eth_call", []any{object{"to": readerAddr}, "latest"}}, 0, imported, 0, false},
		"catching up": {rpcCall{"trace_block", []any{"0x5"}}, 0, time.Hour, maxPause + 2*busyPoll, false},
		"only waits":  {rpcCall{"eth_getBalance", []any{userAddr, "latest"}}, queryGrace, imported, 100 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				n := newFakeNode(t, func(c *Config, b *Backend) {
					c.Log, c.EVMTimeout = nil, time.Minute
					b.Busy = func() bool { return time.Since(began) < test.busy }
				})
				slowReads(n, test.reads)
				client := n.client(t)
				got := response(client, test.call)
				if strings.HasPrefix(got, "error") {
					t.Fatalf("%.300s", got)
				}
				took, least := time.Since(began), time.Duration(0)
				if test.pauses {
					least = test.busy
				}
				if took < least || took > least+test.within {
					t.Errorf("took %v, want %v to %v", took, least, least+test.within)
				}
				client.Close()
			})
		})
	}
}

// TestLongQueryPauses: a query that has computed for longer than its grace pauses too.
func TestLongQueryPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		p := newProcessors(busy.Load)
		turn := p.begin(t.Context(), queryGrace, time.Minute)
		defer turn.release()
		busy.Store(true)
		began := time.Now()
		turn.yield()
		time.Sleep(queryGrace / 2) // computing
		turn.suspend()
		time.Sleep(time.Second) // fetching
		turn.resume()
		turn.yield()
		if took := time.Since(began); took != time.Second+queryGrace/2 {
			t.Errorf("paused too early: %v", took)
		}
		time.Sleep(queryGrace / 2)
		time.AfterFunc(time.Second, func() { busy.Store(false) })
		turn.yield()
		if took := time.Since(began); took < 2*time.Second+queryGrace || took > 2*time.Second+queryGrace+busyPoll {
			t.Errorf("did not pause: %v", took)
		}
	})
}

// TestTurns: so many calls compute at once as there are slots; one that fetches gives up its slot.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcessors(nil)
		p.slots = semaphore.NewWeighted(2)
		var running, most atomic.Int32
		var calls sync.WaitGroup
		began := time.Now()
		for range 10 {
			calls.Go(func() {
				turn := p.begin(t.Context(), 0, 0)
				defer turn.release()
				for range 3 {
					turn.yield()
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Millisecond)
					running.Add(-1)
					turn.suspend()
					time.Sleep(100 * time.Millisecond)
					turn.resume()
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); most.Load() != 2 || took > 330*time.Millisecond {
			t.Errorf("%d at once, %v", most.Load(), took)
		}
		if !p.slots.TryAcquire(2) {
			t.Error("a slot is lost")
		}
		p.slots.Release(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.begin(ctx, 0, 0).yield() // takes the other one
		p.begin(ctx, 0, 0).yield() // waits, not for ever
		if ctx.Err() == nil {
			t.Error("a third call has a slot")
		}
	})
}

// TestEngineRequestsAnnounceBlocks: calls pause from the arrival of an Engine API request on, but not as long as it waits.
func TestEngineRequestsAnnounceBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcessors(nil)
		handler := p.announce(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if !p.isBusy() {
				t.Error("not busy at the arrival")
			}
			time.Sleep(2 * arrivalTime)
			if p.isBusy() {
				t.Error("busy until the response")
			}
		}))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	})
}

// TestPrefetchWhenIdle: a prefetch for a trace ends when an import begins, and begins again after it; in the end it runs anyway.
func TestPrefetchWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newProcessors(func() bool { return time.Since(began)%time.Second >= 500*time.Millisecond }) // every other half second
		var ran []time.Duration
		p.whenIdle(t.Context(), func(ctx context.Context) {
			from := time.Now()
			select {
			case <-time.After(600 * time.Millisecond):
			case <-ctx.Done():
			}
			ran = append(ran, time.Since(from))
		})
		if n := len(ran); n != 5 || ran[n-1] != 600*time.Millisecond || ran[0] > 500*time.Millisecond+10*busyPoll {
			t.Errorf("ran %v", ran)
		}
	})
}

// TestMuxTracerIsMetered: the size of a trace by several tracers is bounded while it is made.
func TestMuxTracerIsMetered(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.ResponseBytes = 500 })
	call := object{"to": readerAddr, "input": "0x" + strings.Repeat("00", 2000)}
	got := response(n.client(t), rpcCall{"debug_traceCall", []any{call, "latest", object{"tracer": "muxTracer", "tracerConfig": object{"callTracer": object{}}}}})
	if !strings.HasPrefix(got, "error -38026") {
		t.Errorf("%.300s", got)
	}
	m := &traceMeter{left: 100, limit: 100, stop: func(error) {}}
	if m.entered(make([]byte, 100)); !m.exceeded() {
		t.Error("a call frame is not counted")
	}
}
