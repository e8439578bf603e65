// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// callerPeriod is the time in which a caller may fetch what the caps of callers say.
	callerPeriod = time.Minute
	// maxCallers is how many callers are remembered; those that have fetched least lately are forgotten.
	maxCallers = 4096
	// ipv6CallerBits are the leading bits of an IPv6 address that tell callers apart: a host has the addresses of a whole /64.
	ipv6CallerBits = 64
)

// fetchBudget is what one call may make the node fetch from peers. What is in flight when it is spent still arrives.
type fetchBudget struct {
	cap     FetchCap
	items   atomic.Uint64
	bytes   atomic.Uint64
	caller  *callerFetches // nil: without a cap
	refused func()         // counts refusals
}

// check is an error with the name of the flag if the call or its caller has fetched all that it may.
func (b *fetchBudget) check() error {
	err := b.checkCall()
	if err == nil && b.caller != nil {
		err = b.caller.check(time.Now())
	}
	if err != nil {
		b.refused()
	}
	return err
}

func (b *fetchBudget) checkCall() error {
	switch {
	case b.cap.Items > 0 && b.items.Load() >= b.cap.Items:
		return errFetchCap("the call", b.cap.Items, "trie nodes and codes", "--rpc.fetchcap")
	case b.cap.Bytes > 0 && b.bytes.Load() >= b.cap.Bytes:
		return errFetchCap("the call", b.cap.Bytes, "bytes of state", "--rpc.fetchcap.bytes")
	}
	return nil
}

func (b *fetchBudget) add(items, bytes uint64) {
	b.items.Add(items)
	b.bytes.Add(bytes)
	if b.caller != nil {
		b.caller.add(time.Now(), items, bytes)
	}
}

// errFetchCap is the error of a call that would fetch more than it may. A node that has the whole state fetches nothing.
func errFetchCap(who string, limit uint64, what, flag string) error {
	return &codedError{codeLimitExceeded, fmt.Sprintf("%s has made the node fetch %d %s from peers, which is the limit (%s)", who, limit, what, flag)}
}

// callerFetches is what a caller has fetched lately: it decreases by the cap in each period.
type callerFetches struct {
	cap FetchCap

	mu           sync.Mutex
	items, bytes float64
	at           time.Time // to which both belong
}

func (c *callerFetches) check(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decrease(now)
	const who = "in a minute the caller"
	switch {
	case c.cap.Items > 0 && c.items >= float64(c.cap.Items):
		return errFetchCap(who, c.cap.Items, "trie nodes and codes", "--rpc.fetchcap.caller")
	case c.cap.Bytes > 0 && c.bytes >= float64(c.cap.Bytes):
		return errFetchCap(who, c.cap.Bytes, "bytes of state", "--rpc.fetchcap.callerbytes")
	}
	return nil
}

func (c *callerFetches) add(now time.Time, items, bytes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decrease(now)
	c.items += float64(items)
	c.bytes += float64(bytes)
}

func (c *callerFetches) decrease(now time.Time) {
	periods := now.Sub(c.at).Seconds() / callerPeriod.Seconds()
	c.items = max(0, c.items-periods*float64(c.cap.Items))
	c.bytes = max(0, c.bytes-periods*float64(c.cap.Bytes))
	c.at = now
}

// callers has what each caller has fetched lately.
type callers struct {
	cap FetchCap

	mu  sync.Mutex
	lru lru.BasicLRU[netip.Addr, *callerFetches]
}

func newCallers(limit FetchCap) *callers {
	return &callers{cap: limit, lru: lru.NewBasicLRU[netip.Addr, *callerFetches](maxCallers)}
}

// of returns the account of the caller in a context, nil if it has no cap: none is configured, or the call did not come over
// the network.
func (c *callers) of(ctx context.Context) *callerFetches {
	if c.cap == (FetchCap{}) {
		return nil
	}
	addr, ok := callerAddr(gethrpc.PeerInfoFromContext(ctx))
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.lru.Get(addr)
	if !ok {
		known = &callerFetches{cap: c.cap, at: time.Now()}
		c.lru.Add(addr, known)
	}
	return known
}

// callerAddr is the network address that tells a caller apart; false for IPC.
func callerAddr(info gethrpc.PeerInfo) (netip.Addr, bool) {
	if info.Transport != "http" && info.Transport != "ws" {
		return netip.Addr{}, false
	}
	host, _, err := net.SplitHostPort(info.RemoteAddr)
	if err != nil {
		return netip.Addr{}, true // callers whose address is unknown share one account
	}
	addr, _ := netip.ParseAddr(host)
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(ipv6CallerBits); err == nil {
			addr = prefix.Addr()
		}
	}
	return addr, true
}

// callMeter meters the fetches of one call: it refuses those beyond the budget, and meanwhile others may compute.
type callMeter struct {
	budget *fetchBudget
	turn   *turn // nil: it is not the call that computes
}

var _ trie.Meter = (*callMeter)(nil)

// Begin implements trie.Meter.
func (m *callMeter) Begin() error {
	if err := m.budget.check(); err != nil {
		return err
	}
	m.turn.suspend()
	return nil
}

// End implements trie.Meter.
func (m *callMeter) End() { m.turn.resume() }

// Fetched implements trie.Meter.
func (m *callMeter) Fetched(stats trie.FetchStats) {
	m.budget.add(stats.Nodes+stats.Codes, stats.Bytes)
}

// withBudget returns a context with the budget of a call. A call that has one keeps it, whatever parts it consists of.
func (b *backend) withBudget(ctx context.Context) context.Context {
	return b.withMeter(ctx, nil)
}

// withMeter is withBudget; while the call fetches it gives up its turn.
func (b *backend) withMeter(ctx context.Context, t *turn) context.Context {
	var budget *fetchBudget
	if outer, ok := trie.MeterOf(ctx).(*callMeter); ok {
		budget = outer.budget
	} else {
		refused := func() { b.metrics.limitExceeded.WithLabelValues(limitFetches).Inc() }
		budget = &fetchBudget{cap: b.cfg.Fetches.Call, caller: b.callers.of(ctx), refused: refused}
	}
	return trie.WithMeter(ctx, &callMeter{budget, t})
}
