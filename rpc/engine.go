package rpc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/params/forks"
)

// Patience: how long an Engine API call may take to become VALID before it is answered
// with SYNCING. Callers time out after 8 s, from Amsterdam on after 6 s (execution-apis,
// src/engine), and the built-in light client after 5 s (beacon/blsync/engineclient.go).
const (
	patience          = 5500 * time.Millisecond
	patienceAmsterdam = 4 * time.Second
	patienceInProc    = 4 * time.Second

	engineCalls = 64 // at once; more than any consensus client makes
)

// engineAPI is the engine namespace. Parameters are judged as go-ethereum's eth/catalyst
// does, per version and fork.
//
// The node does not build blocks. forkchoiceUpdated with payload attributes checks them and
// answers with a null payload id: the specification has that answer for a client that
// cannot begin to build, it leaves the fork choice applied, and a consensus client that
// proposes falls back to its builder. getPayload then knows no payload (-38001).
type engineAPI struct {
	b     *backend
	gate  *gate
	limit time.Duration // upper bound of the patience; zero: none
}

// The forks that the versions of newPayload and forkchoiceUpdated are for.
func forksV1() []forks.Fork { return []forks.Fork{forks.Paris, forks.Shanghai} }

func forksV3() []forks.Fork { return append(forksV4(), forks.Cancun) }

func forksV4() []forks.Fork {
	return []forks.Fork{forks.Prague, forks.Osaka, forks.BPO1, forks.BPO2}
}

func forksV5() []forks.Fork {
	return []forks.Fork{forks.Amsterdam, forks.BPO3, forks.BPO4, forks.BPO5, forks.Bogota}
}

func (api *engineAPI) config() *params.ChainConfig { return api.b.Chain.Config() }

func (api *engineAPI) checkFork(timestamp uint64, allowed ...forks.Fork) bool {
	return slices.Contains(allowed, api.config().LatestFork(timestamp))
}

// enter begins a call that has to be answered within a time.
func (api *engineAPI) enter(ctx context.Context, within time.Duration) (context.Context, func(), error) {
	if api.limit > 0 {
		within = min(within, api.limit)
	}
	return api.gate.enter(ctx, within)
}

// settle makes an answer of what the importer said. Running out of time is no error: the
// importer goes on, and the next call has its outcome.
func (api *engineAPI) settle(ctx context.Context, method string, status engine.PayloadStatusV1, err error) (engine.PayloadStatusV1, error) {
	label := strings.ToLower(status.Status)
	switch {
	case err != nil && ctx.Err() != nil:
		status, err, label = engine.PayloadStatusV1{Status: engine.SYNCING}, nil, "syncing"
	case err != nil:
		label = "error"
	}
	api.b.meters.engine.WithLabelValues(method, label).Inc()
	return status, err
}

func invalidStatus() engine.PayloadStatusV1 {
	return engine.PayloadStatusV1{Status: engine.INVALID}
}

func paramsErr(msg string) error { return engine.InvalidParams.With(errors.New(msg)) }

func attributesErr(msg string) error { return engine.InvalidPayloadAttributes.With(errors.New(msg)) }

func forkErr(msg string) error { return engine.UnsupportedFork.With(errors.New(msg)) }
