// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

const (
	lapPoll = 100 * time.Millisecond // how often a node is asked whether it is done
	lapTell = 10 * time.Second       // how often its progress is shown
)

// lap is one run of one node.
type lap struct {
	began      time.Time
	full       bool
	seconds    float64 // until it was done
	stateAfter float64
	bytes      int64  // sent by all peers
	rss        uint64 // most
	cpu        float64
	peersCPU   float64 // of all peers
	disk       int64
	written    uint64
	kills      int
	faults     uint64 // bytes that executions asked for
	verdict    db.StateReport

	mu      sync.Mutex
	records []judged
}

// judged is a block and when the node had judged it, seconds after the lap's beginning.
type judged struct {
	mockcl.Record
	at float64
}

func (l *lap) record(r mockcl.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seconds == 0 { // later ones were interrupted by the end
		l.records = append(l.records, judged{r, time.Since(l.began).Seconds()})
	}
}

func (l *lap) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

func (l *lap) end(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full, l.seconds = full, time.Since(l.began).Seconds()
	if full && l.stateAfter == 0 { // too short to be seen
		l.stateAfter = l.seconds
	}
}

func (l *lap) latencies() (seconds []float64) {
	for _, r := range l.records {
		seconds = append(seconds, r.Latency.Seconds())
	}
	return seconds
}

func (l *lap) valid() (n int) {
	for _, r := range l.records {
		if r.Status == engine.VALID {
			n++
		}
	}
	return n
}

func (l *lap) firstValid() float64 {
	for _, r := range l.records {
		if r.Status == engine.VALID {
			return r.at
		}
	}
	return 0
}

// background is what came that no execution had asked for: the backfill's part, and blocks.
func (l *lap) background() int64 { return l.bytes - int64(l.faults) }

// measure notes what peers have done until now; call it before and after.
func (r *race) measure(l *lap, sign int64) {
	l.bytes += sign * r.testbed.Sent()
	for _, geth := range r.geths() {
		l.peersCPU += float64(sign) * cpuSeconds(geth.PID())
	}
}

// beam lets a fresh node run until it is full, or for a number of blocks without backfill. In
// between it is killed a number of times.
func (r *race) beam(ctx context.Context, name string, blocks, kills int) (*lap, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	l := &lap{began: time.Now()}
	cfg := r.testbed.Node("data-" + name)
	if r.opts.Engine != "" {
		cfg.Args = append(cfg.Args, "--db.engine", r.opts.Engine)
	}
	if blocks > 0 {
		cfg.Args = append(cfg.Args, "--beam.backfill=false")
	}
	r.opts.report("%s begins", name)
	r.measure(l, -1)
	for life := 0; ; life++ {
		over, err := r.live(ctx, l, cfg, blocks, life < kills)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if over {
			break
		}
		l.kills++
	}
	r.measure(l, 1)
	r.opts.report("%s ends after %.1f s, %d blocks", name, l.seconds, len(l.records))
	if blocks > 0 {
		return l, nil
	}
	l.disk = sizeOfDir(filepath.Join(cfg.Dir, "geth", "chaindata"))
	began := time.Now()
	var err error
	if l.verdict, err = verify(ctx, cfg.Dir); err != nil {
		return nil, fmt.Errorf("%s: verify: %w", name, err)
	}
	r.opts.report("%s: %s (%.0f s)", name, l.verdict, time.Since(began).Seconds())
	return l, nil
}

// live is one life of a node: to the lap's end, or to a random moment at which it is killed.
func (r *race) live(ctx context.Context, l *lap, cfg demo.NodeConfig, blocks int, mortal bool) (over bool, err error) {
	node, err := demo.StartNode(ctx, cfg)
	if err != nil {
		return false, err
	}
	if l.count() == 0 {
		l.began = node.Started
	}
	followed, unfollow := context.WithCancel(ctx)
	var following sync.WaitGroup
	follower := mockcl.NewFollower(node.Engine, r.opts.Slot, l.record, slog.New(slog.DiscardHandler))
	following.Go(func() { _ = follower.Run(followed) }) // it has no errors of its own
	r.racer.Store(follower)
	stop := func() {
		r.racer.Store(nil)
		unfollow()
		following.Wait()
	}
	defer stop()
	death := 0.1 + 0.8*rand.Float64() // of what is left of the state
	before, told := 0.0, time.Now()
	for again := time.NewTicker(lapPoll); ; {
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return false, errors.Join(fmt.Errorf("not done after %.0f s: %w", time.Since(l.began).Seconds(), ctx.Err()), node.Close())
		case <-node.Exited():
			again.Stop()
			return false, node.Wait()
		}
		status, err := node.Status(ctx)
		if err != nil {
			continue // it shows in the end
		}
		if b := status.Backfill; b != nil {
			if before == 0 {
				before = b.Share
			}
			if b.Share > 0.999999 && l.stateAfter == 0 {
				l.stateAfter = time.Since(l.began).Seconds()
			}
			if time.Since(told) > lapTell {
				told = time.Now()
				r.opts.report("  %.0f s: %.1f %%, %d accounts, %d slots, %d bytes, %s; %d blocks, %d MB of memory; %s", time.Since(l.began).Seconds(), 100*b.Share,
					b.Accounts, b.Slots, b.Bytes, status.Phase, l.count(), node.Memory()>>20, b.Waiting)
			}
			if mortal && b.Share > before+death*(1-before) {
				again.Stop()
				l.add(node, status)
				r.opts.report("  killed at %.1f %%", 100*b.Share)
				return false, node.Kill()
			}
		}
		full := status.Full() && (r.opts.Until != "flat" || status.Flat.Done)
		if blocks > 0 && l.count() >= blocks || blocks == 0 && (full || r.opts.Until == "state" && l.stateAfter > 0) {
			again.Stop()
			l.end(full)
			l.add(node, status)
			stop()
			return true, node.Close()
		}
	}
}

// add notes what a node did that ends now.
func (l *lap) add(node *demo.Node, status demo.Status) {
	l.cpu += cpuSeconds(node.PID())
	l.written += writtenBytes(node.PID())
	l.rss = max(l.rss, node.Memory())
	l.faults += status.Totals.Fetched.Bytes
}

// geth lets a fresh geth sync the state by its own means, until it calls a head VALID.
func (r *race) geth(ctx context.Context) (l *lap, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	r.opts.report("geth begins")
	binary, err := gethpeer.Binary(ctx)
	if err != nil {
		return nil, err
	}
	geth, err := gethpeer.Start(ctx, gethpeer.Config{
		Binary: binary, Dir: r.testbed.Dir("geth-fresh"), Genesis: r.testbed.Spec.Genesis(), JWTSecret: r.testbed.Secret, SyncMode: "snap", CacheMB: 1024,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, geth.Kill()) }()
	l = &lap{began: time.Now()}
	r.measure(l, -1)
	for _, enode := range r.testbed.Enodes() {
		if err := geth.RPC().CallContext(ctx, new(bool), "admin_addPeer", enode); err != nil {
			return nil, fmt.Errorf("give geth a peer: %w", err)
		}
	}
	client, err := mockcl.Dial(ctx, "geth", geth.Auth(), r.testbed.Secret)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	follower := mockcl.NewFollower(client, r.opts.Slot, func(record mockcl.Record) {
		if record.Status == engine.VALID {
			l.end(true)
			finish()
		}
	}, slog.New(slog.DiscardHandler))
	followed, unfollow := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { _ = follower.Run(followed) })
	defer following.Wait()
	defer unfollow()
	r.racer.Store(follower)
	defer r.racer.Store(nil)
	select {
	case <-done:
	case <-geth.Exited():
		return nil, errors.Join(errors.New("geth ended by itself"), geth.Wait())
	case <-ctx.Done():
		return nil, fmt.Errorf("geth is not done after %.0f s: %w\n%s", time.Since(l.began).Seconds(), ctx.Err(), geth.LogTail())
	}
	r.measure(l, 1)
	l.cpu, l.rss = cpuSeconds(geth.PID()), demo.Memory(geth.PID())
	r.opts.report("geth ends after %.1f s", l.seconds)
	return l, nil
}
