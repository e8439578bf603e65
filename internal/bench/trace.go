// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/eth/tracers"
	_ "github.com/ethereum/go-ethereum/eth/tracers/native" // registers the native tracers
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/rpc"
)

// TracesOptions says what to trace.
type TracesOptions struct {
	Dir     string        // witness files
	RTT     time.Duration // of the link to the peer
	MaxGas  uint64        // blocks with more are left out
	Repeats int           // of warm traces; the fastest counts
	JSON    bool          // one object for each block and tracer instead of a table
}

// tracerConfigs are the tracers with their parameters. Struct logs have no stack and no storage: with them a block has gigabytes.
func tracerConfigs() []tracerConfig {
	return []tracerConfig{
		{"callTracer", map[string]any{"tracer": "callTracer"}},
		{"prestateTracer", map[string]any{"tracer": "prestateTracer", "tracerConfig": map[string]any{"diffMode": true}}},
		{"flatCallTracer", map[string]any{"tracer": "flatCallTracer"}},
		{"structLog", map[string]any{"disableStack": true, "disableStorage": true}},
	}
}

type tracerConfig struct {
	name   string
	params map[string]any
}

// TraceResult is what tracing one block with one tracer took, in real time, with the request over HTTP on loopback.
type TraceResult struct {
	ChainID uint64  `json:"chainId"`
	Number  uint64  `json:"number"`
	Gas     uint64  `json:"gas"`
	Tracer  string  `json:"tracer"`
	Bytes   int     `json:"bytes"` // of the trace
	Cold    float64 `json:"cold"`  // seconds, from an empty store
	Warm    float64 `json:"warm"`  // seconds, with the state in memory
	Geth    float64 `json:"geth"`  // seconds of go-ethereum's tracers on the whole witness in memory
	Same    bool    `json:"same"`  // the trace is go-ethereum's, byte for byte
}

// Traces traces the blocks of witness files from an empty store, and compares with go-ethereum. It fails if a trace differs.
func Traces(ctx context.Context, opts TracesOptions, out io.Writer) error {
	paths, err := witnessfile.Paths(opts.Dir)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no witness files (*.json, *.json.gz) in %s", opts.Dir)
	}
	if !opts.JSON {
		fmt.Fprintf(out, "%-20s %6s  %-15s %9s %8s %8s %8s %6s\n", "block", "Mgas", "tracer", "bytes", "cold s", "warm ms", "geth ms", "ratio")
	}
	differ := 0
	for _, path := range paths {
		file, err := witnessfile.Load(path)
		if err != nil {
			return err
		}
		if !file.HasParent || file.Block.GasUsed() > opts.MaxGas {
			continue
		}
		err = traceFile(ctx, file, opts, func(r *TraceResult) error {
			if !r.Same {
				differ++
			}
			if opts.JSON {
				return json.NewEncoder(out).Encode(r)
			}
			verdict := "same"
			if !r.Same {
				verdict = "DIFFERS"
			}
			_, err := fmt.Fprintf(out, "%-20s %6.1f  %-15s %9d %8.2f %8.1f %8.1f %6.2f %s\n",
				fmt.Sprintf("%d-%d", r.ChainID, r.Number), float64(r.Gas)/1e6, r.Tracer, r.Bytes, r.Cold, 1000*r.Warm, 1000*r.Geth, r.Warm/r.Geth, verdict)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if differ > 0 {
		return fmt.Errorf("%d traces are not go-ethereum's", differ)
	}
	return nil
}

// traceFile traces the block of a file with all tracers. A block whose witness lacks something is left out.
func traceFile(ctx context.Context, file *witnessfile.File, opts TracesOptions, show func(*TraceResult) error) error {
	geth := newGethTracer(file)
	server := gethrpc.NewServer()
	defer server.Stop()
	if err := server.RegisterName("debug", tracers.NewAPI(geth)); err != nil {
		return err
	}
	endpoint := httptest.NewServer(server)
	defer endpoint.Close()
	client, err := gethrpc.DialContext(ctx, endpoint.URL)
	if err != nil {
		return err
	}
	defer client.Close()
	encoded, err := rlp.EncodeToBytes(file.Block)
	if err != nil {
		return err
	}
	for _, tracer := range tracerConfigs() {
		t := traceCall{block: encoded, tracer: tracer}
		want, _, err := t.run(ctx, client)
		if geth.holes() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("go-ethereum, %s: %w", tracer.name, err)
		}
		r := &TraceResult{ChainID: file.ChainID, Number: file.Number, Gas: file.Block.GasUsed(), Tracer: tracer.name, Bytes: len(want)}
		if r.Geth, err = t.fastest(ctx, client, opts.Repeats); err != nil {
			return err
		}
		err = withTracingNode(ctx, file, opts.RTT, func(ctx context.Context, ours *gethrpc.Client) error {
			got, cold, err := t.run(ctx, ours)
			if err != nil {
				return fmt.Errorf("%s: %w", tracer.name, err)
			}
			r.Cold, r.Same = cold, bytes.Equal(got, want)
			r.Warm, err = t.fastest(ctx, ours, opts.Repeats)
			return err
		})
		if err == nil {
			err = show(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// traceCall is a call of debug_traceBlock.
type traceCall struct {
	block  hexutil.Bytes
	tracer tracerConfig
}

// run returns the trace, and the seconds until it was there.
func (t *traceCall) run(ctx context.Context, client *gethrpc.Client) (json.RawMessage, float64, error) {
	var trace json.RawMessage
	begin := time.Now()
	err := client.CallContext(ctx, &trace, "debug_traceBlock", t.block, t.tracer.params)
	return trace, time.Since(begin).Seconds(), err
}

func (t *traceCall) fastest(ctx context.Context, client *gethrpc.Client, repeats int) (best float64, err error) {
	for i := range max(repeats, 1) {
		_, took, err := t.run(ctx, client)
		if err != nil {
			return 0, err
		}
		if i == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// withTracingNode runs use with a client of the node's JSON-RPC, on an empty store and with a peer behind a link that has
// the witness.
func withTracingNode(ctx context.Context, file *witnessfile.File, rtt time.Duration, use func(context.Context, *gethrpc.Client) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	c, blocks := newClient(file), newBlockChain(file)
	group.Go(func() error { return c.fetcher.Run(ctx) })
	err := Trial{File: file, Connect: overLoopback(rtt)}.connect(ctx, group, c, blocks)
	if err == nil {
		err = serveTraces(ctx, group, &tracingNode{client: c, file: file, headers: &ancestors{chain: blocks, fetcher: c.fetcher}}, use)
	}
	cancel()
	return cmp.Or(err, group.Wait())
}

func serveTraces(ctx context.Context, group *errgroup.Group, n *tracingNode, use func(context.Context, *gethrpc.Client) error) error {
	const manyBytes = 4 << 30
	server, err := rpc.NewServer(rpc.Config{
		HTTP:          rpc.HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"debug"}},
		GasCap:        rpc.DefaultGasCap,
		ResponseBytes: manyBytes, BodyBytes: 32 << 20,
	}, rpc.Backend{Chain: tracedChain{newBlockChain(n.file), n.file}, States: n, Ancestors: n.headers, Prefetcher: n})
	if err != nil {
		return err
	}
	group.Go(func() error { return server.Run(ctx) })
	select {
	case <-server.Ready():
	case <-ctx.Done():
		return errors.New("the JSON-RPC server did not start")
	}
	client, err := gethrpc.DialContext(ctx, "http://"+server.Addrs().HTTP)
	if err != nil {
		return err
	}
	defer client.Close()
	return use(ctx, client)
}
