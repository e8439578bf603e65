// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
)

// swarmLap is one run of some nodes at the same time.
type swarmLap struct {
	*swarm
	name   string
	upload *simnet.Upload
	group  *errgroup.Group // of proxies and followers
	nodes  []*swarmer
}

// swarmer is a node and its links.
type swarmer struct {
	*demo.Node
	admin    *gethrpc.Client
	dir      string
	full     *simnet.Proxy   // to geth
	dialled  []*simnet.Proxy // to others: what comes from them
	accepted []*simnet.Proxy // from others: what goes to the target comes from them
	follower *mockcl.Follower
	share    float64 // of its state, as it says

	mu     sync.Mutex
	result SwarmNode
}

// lap starts nodes together, and a late one when they are half done, and waits until all are full.
func (s *swarm) lap(ctx context.Context, name string, count int, late bool) (results []SwarmNode, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	l := &swarmLap{swarm: s, name: name, upload: simnet.NewUpload(s.opts.Upload)}
	l.group, serving = errgroup.WithContext(serving)
	defer func() {
		s.mu.Lock()
		s.followers = nil
		s.mu.Unlock()
		for _, n := range l.nodes {
			err = errors.Join(err, n.close())
		}
		stop()
		err = errors.Join(err, l.group.Wait())
		if err == nil {
			results, err = l.results(ctx)
		}
	}()
	for range count {
		if err := l.start(ctx, serving, false); err != nil {
			return nil, err
		}
	}
	for _, n := range l.nodes { // now they hear of the head, all at once
		l.follow(serving, n)
	}
	return nil, l.watch(ctx, serving, late)
}

// start starts a node and connects it with geth and the others, by a link of its own to each.
func (l *swarmLap) start(ctx, serving context.Context, late bool) error {
	id := fmt.Sprintf("%s-%d", l.name, len(l.nodes)+1)
	link := simnet.Link{Delay: l.opts.RTT / 2}
	toGeth := link
	toGeth.Upload = l.upload
	full, err := l.listen(ctx, serving, l.testbed.Geth.RLPx(), toGeth)
	if err != nil {
		return err
	}
	cfg := l.testbed.Node(id, "--nodiscover", "--history.chain", "0", "--verbosity", "4") // blocks are not what is measured
	cfg.Peers = []string{l.testbed.Geth.EnodeAt(full.Addr())}
	n := &swarmer{full: full, dir: cfg.Dir, result: SwarmNode{Late: late}}
	if n.Node, err = demo.StartNode(ctx, cfg); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	others := l.nodes
	l.nodes = append(l.nodes, n)
	if n.admin, err = gethrpc.DialContext(ctx, n.IPC); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	for _, other := range others {
		if err := l.connect(ctx, serving, n, other, link); err != nil {
			return fmt.Errorf("connect %s: %w", id, err)
		}
	}
	return nil
}

// connect lets one node dial another one.
func (l *swarmLap) connect(ctx, serving context.Context, from, to *swarmer, link simnet.Link) error {
	var info struct{ Enode string }
	if err := to.admin.CallContext(ctx, &info, "admin_nodeInfo"); err != nil {
		return err
	}
	enode, err := url.Parse(info.Enode)
	if err != nil {
		return err
	}
	proxy, err := l.listen(ctx, serving, net.JoinHostPort("127.0.0.1", enode.Port()), link)
	if err != nil {
		return err
	}
	enode.Host, enode.RawQuery = proxy.Addr(), ""
	from.dialled, to.accepted = append(from.dialled, proxy), append(to.accepted, proxy)
	return from.admin.CallContext(ctx, new(bool), "admin_addPeer", enode.String())
}

func (l *swarmLap) listen(ctx, serving context.Context, target string, link simnet.Link) (*simnet.Proxy, error) {
	proxy, err := simnet.Listen(ctx, target, link, slog.New(slog.DiscardHandler))
	if err == nil {
		l.group.Go(func() error { return proxy.Run(serving) })
	}
	return proxy, err
}

// follow lets a node hear of blocks from now on.
func (l *swarmLap) follow(serving context.Context, n *swarmer) {
	n.follower = mockcl.NewFollower(n.Engine, l.opts.Slot, n.record, slog.New(slog.DiscardHandler))
	l.group.Go(func() error { return n.follower.Run(serving) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers = append(l.followers, n.follower)
}

func (n *swarmer) record(r mockcl.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r.Status {
	case engine.VALID:
		n.result.Valid++
	case engine.INVALID:
		n.result.Wrong++
	}
}

// watch waits until all are full.
func (l *swarmLap) watch(ctx, serving context.Context, late bool) error {
	again := time.NewTicker(lapPoll)
	defer again.Stop()
	told := time.Now()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not all are full: %w", l.name, ctx.Err()), errors.New(l.state()))
		}
		full, half := true, true
		for _, n := range l.nodes {
			if err := n.look(ctx); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			full, half = full && n.result.Seconds > 0, half && n.share > 0.5
		}
		if time.Since(told) > lapTell {
			told = time.Now()
			l.opts.report("%s", l.state())
		}
		if late && half {
			late = false
			if err := l.start(ctx, serving, true); err != nil {
				return err
			}
			l.follow(serving, l.nodes[len(l.nodes)-1])
			l.opts.report("%s: the late one starts", l.name)
			continue
		}
		if full && !late {
			l.opts.report("%s", l.state())
			return nil
		}
	}
}

// look asks a node how far it is.
func (n *swarmer) look(ctx context.Context) error {
	select {
	case <-n.Exited():
		return errors.Join(errors.New("a node ended"), n.Wait())
	default:
	}
	status, err := n.Status(ctx)
	if err != nil {
		return nil //nolint:nilerr // it shows in the end
	}
	if status.Backfill != nil {
		n.share = status.Backfill.Share
	}
	if n.result.Seconds == 0 && status.Full() {
		n.result.Seconds, n.share = time.Since(n.Started).Seconds(), 1
	}
	return nil
}

// state says how far all are.
func (l *swarmLap) state() string {
	text := l.name + ":"
	for _, n := range l.nodes {
		full, swarm := n.received()
		text += fmt.Sprintf(" %.0f %% (%.1f + %.1f MB)", 100*n.share, float64(full)/1e6, float64(swarm)/1e6)
	}
	return text
}

// received is how many bytes have come.
func (n *swarmer) received() (full, swarm int64) {
	_, full = n.full.Traffic()
	for _, proxy := range n.dialled {
		_, bytes := proxy.Traffic()
		swarm += bytes
	}
	for _, proxy := range n.accepted {
		bytes, _ := proxy.Traffic()
		swarm += bytes
	}
	return full, swarm
}

func (n *swarmer) close() error {
	n.result.Memory = n.Memory()
	if n.admin != nil {
		n.admin.Close()
	}
	return n.Close()
}

// results looks at what the nodes have left.
func (l *swarmLap) results(ctx context.Context) (results []SwarmNode, err error) {
	for _, n := range l.nodes {
		r := n.result
		r.FromFull, r.FromSwarm = n.received()
		r.Share = float64(r.FromSwarm) / float64(max(1, r.FromFull+r.FromSwarm))
		verdict, err := verify(ctx, n.dir)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", n.dir, err)
		}
		r.Sound = verdict.Complete()
		if !r.Sound {
			l.opts.report("%s: %s", filepath.Base(n.dir), verdict)
		}
		results = append(results, r)
		if l.opts.LogDir != "" {
			if err := keep(n.Log(), l.opts.LogDir); err != nil {
				return nil, err
			}
		}
		if err := os.RemoveAll(n.dir); err != nil {
			return nil, err
		}
	}
	return slices.Clip(results), nil
}

// keep copies a file to a directory.
func keep(file, dir string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644)
}
