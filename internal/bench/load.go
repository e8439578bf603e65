// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// warmUpBlocks are imported before those that are measured. They and later ones are traced.
const warmUpBlocks = 4

// LoadOptions says how the import of blocks is measured while callers trace others.
type LoadOptions struct {
	TestbedOptions
	Blocks  int          // imported without traces, and as many with them
	Mix     stategen.Mix // what their transactions do
	Callers int          // that trace at the same time
}

func (o *LoadOptions) check() error {
	if o.Blocks < 1 || o.Callers < 1 {
		return fmt.Errorf("%d blocks, %d callers", o.Blocks, o.Callers)
	}
	return o.TestbedOptions.check(100_000)
}

// LoadSum is how long newPayload took without and with traces beside it, of one run. Times are in seconds.
type LoadSum struct {
	Blocks  int          `json:"blocks"` // of each kind
	Callers int          `json:"callers"`
	Quiet   FollowSpread `json:"quietSeconds"`
	Loaded  FollowSpread `json:"loadedSeconds"`
	Traces  int64        `json:"traces"` // that were answered
	Refused int64        `json:"refused"`
	Bytes   int64        `json:"bytes"` // of the traces
}

// Load has a full node import blocks, every second one while callers trace the newest ones without pause, and compares how long
// newPayload takes. All blocks are built beforehand.
func Load(ctx context.Context, opts LoadOptions, out io.Writer) (sum *LoadSum, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	testbed, err := opts.newTestbed(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	l := &loading{opts: opts, testbed: testbed}
	if err := errors.Join(testbed.RunScenario(ctx, l.run), ctx.Err()); err != nil {
		return nil, err
	}
	sum = &LoadSum{
		Blocks: opts.Blocks, Callers: opts.Callers, Quiet: spreadOf(l.took[false]), Loaded: spreadOf(l.took[true]),
		Traces: l.traces.Load(), Refused: l.refused.Load(), Bytes: l.bytes.Load(),
	}
	if opts.JSON {
		return sum, json.NewEncoder(out).Encode(sum)
	}
	for _, line := range []struct {
		name string
		FollowSpread
	}{{"alone", sum.Quiet}, {fmt.Sprintf("%d callers trace", sum.Callers), sum.Loaded}} {
		fmt.Fprintf(out, "%-20s newPayload p50 %6.1f ms  p95 %6.1f ms  max %6.1f ms\n", line.name, 1000*line.P50, 1000*line.P95, 1000*line.Most)
	}
	_, err = fmt.Fprintf(out, "p50 %+.0f %%, p95 %+.0f %%; %d traces answered, %.0f MB, %d refused\n",
		100*(sum.Loaded.P50/sum.Quiet.P50-1), 100*(sum.Loaded.P95/sum.Quiet.P95-1), sum.Traces, float64(sum.Bytes)/1e6, sum.Refused)
	return sum, err
}

// loading is one run.
type loading struct {
	opts    LoadOptions
	testbed *demo.Testbed
	node    *demo.Node
	took    map[bool][]float64 // newPayload in seconds, without and with traces

	first                  uint64 // block that is traced
	head                   atomic.Uint64
	traces, refused, bytes atomic.Int64
}

func (l *loading) run(ctx context.Context) (err error) {
	l.node, err = demo.StartNode(ctx, l.testbed.Node("full", "--http.api", "eth,net,web3,beam,debug"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.node.Close()) }()
	if err := l.becomeFull(ctx); err != nil {
		return err
	}
	payloads := make([]*mockcl.Payload, warmUpBlocks+2*l.opts.Blocks)
	for i := range payloads {
		if payloads[i], err = l.testbed.Builder.Build(ctx, uint64(time.Now().Unix()), l.testbed.Traffic.Block(l.opts.Gas, l.opts.Mix)); err != nil {
			return err
		}
		l.opts.report("built block %d: %d transactions, %.1f Mgas", payloads[i].Data.Number, len(payloads[i].Data.Transactions), float64(payloads[i].Data.GasUsed)/1e6)
	}
	l.took, l.first = make(map[bool][]float64), payloads[0].Data.Number
	for _, payload := range payloads[:warmUpBlocks] {
		if _, err := l.give(ctx, payload); err != nil {
			return err
		}
	}
	for i, payload := range payloads[warmUpBlocks:] {
		loaded := i%2 == 1
		took, err := l.measure(ctx, payload, loaded)
		if err != nil {
			return err
		}
		l.took[loaded] = append(l.took[loaded], took.Seconds())
		l.opts.report("block %d, traces %t: %v", payload.Data.Number, loaded, took.Round(100*time.Microsecond))
	}
	return nil
}

// becomeFull has the node follow empty blocks until it has the whole state.
func (l *loading) becomeFull(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, phaseTimeout)
	defer cancel()
	for {
		payload, err := l.testbed.Builder.Build(ctx, uint64(time.Now().Unix()), nil)
		if err != nil {
			return err
		}
		if _, err := l.give(ctx, payload); err != nil {
			return err
		}
		if status, err := l.node.Status(ctx); err != nil || status.Full() {
			return err
		}
		if err := sleepUntil(ctx, time.Now().Add(l.opts.Slot)); err != nil {
			return err
		}
	}
}

// give hands a block to the node until it is VALID and makes it the head. It returns how long the first newPayload took.
func (l *loading) give(ctx context.Context, payload *mockcl.Payload) (first time.Duration, err error) {
	for began := time.Now(); ; {
		status, err := l.node.Engine.NewPayload(ctx, payload)
		if first == 0 {
			first = time.Since(began)
		}
		if err == nil && status.Status == engine.VALID {
			_, err = l.node.Engine.Forkchoice(ctx, payload)
			l.head.Store(payload.Data.Number)
			return first, err
		}
		if err != nil || status.Status == engine.INVALID {
			return 0, fmt.Errorf("block %d is %s: %w", payload.Data.Number, status.Status, err)
		}
		if err := sleepUntil(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return 0, err
		}
	}
}

// measure imports a block, after a slot in which the callers trace or nobody does anything.
func (l *loading) measure(ctx context.Context, payload *mockcl.Payload, loaded bool) (took time.Duration, err error) {
	callers := 0
	if loaded {
		callers = l.opts.Callers
	}
	tracing := make([]func(context.Context) error, callers)
	for i := range tracing {
		tracing[i] = l.trace
	}
	err = during(ctx, func(ctx context.Context) error {
		if err := sleepUntil(ctx, time.Now().Add(l.opts.Slot)); err != nil {
			return err
		}
		took, err = l.give(ctx, payload)
		return err
	}, tracing...)
	return took, err
}

// during runs act, and others until it has returned.
func during(ctx context.Context, act func(context.Context) error, others ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	until, end := context.WithCancel(ctx)
	defer end()
	for _, other := range others {
		group.Go(func() error { return other(until) })
	}
	group.Go(func() error {
		defer end()
		return act(ctx)
	})
	return group.Wait()
}

// trace traces the newest blocks in turn, with all tracers, until ctx ends.
func (l *loading) trace(ctx context.Context) error {
	for ctx.Err() == nil {
		number := l.first + rand.Uint64N(l.head.Load()-l.first+1)
		tracer := tracerConfigs()[rand.IntN(len(tracerConfigs()))]
		config, err := json.Marshal(tracer.params)
		if err != nil {
			return err
		}
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"debug_traceBlockByNumber","params":["%#x",%s]}`, number, config)
		if err := l.post(ctx, body); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// post sends a request and throws the response away: to decode it would take time from the node.
func (l *loading) post(ctx context.Context, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.node.HTTP, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	start := make([]byte, 80) // an error comes before anything long
	n, err := io.ReadFull(response.Body, start)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err != nil {
		return err
	}
	if bytes.Contains(start[:n], []byte(`"error"`)) {
		l.refused.Add(1)
	} else {
		l.traces.Add(1)
	}
	rest, err := io.Copy(io.Discard, response.Body)
	l.bytes.Add(int64(n) + rest)
	return err
}
