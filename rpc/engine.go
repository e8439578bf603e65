// SPDX-License-Identifier: LGPL-3.0-or-later

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

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
)

// Response timeouts: how long newPayload and forkchoiceUpdated wait for the import before they return
// SYNCING. Consensus clients time out after 8 s, from Amsterdam on after 6 s (execution-apis, src/engine),
// and go-ethereum's light client after 5 s (beacon/blsync/engineclient.go).
const (
	responseTimeout          = 5500 * time.Millisecond
	responseTimeoutAmsterdam = 4 * time.Second
	responseTimeoutInProc    = 4 * time.Second

	maxEngineCalls = 64 // concurrent calls, more than a consensus client makes
)

// engineAPI is the engine namespace. The rules for parameters, by version and fork, and the error texts are
// those of go-ethereum's eth/catalyst.
//
// forkchoiceUpdated applies the fork choice before it looks at the payload attributes, as the specification demands and
// go-ethereum does not: wrong attributes are an error, and the fork choice remains applied.
type engineAPI struct {
	b          *backend
	limiter    *limiter
	maxTimeout time.Duration // upper bound of the response timeout; zero: none
}

// The forks for which each version of newPayload and forkchoiceUpdated may be called.
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

// acquire waits for a slot. The returned context ends with the response timeout.
func (api *engineAPI) acquire(ctx context.Context, within time.Duration) (context.Context, func(), error) {
	if api.maxTimeout > 0 {
		within = min(within, api.maxTimeout)
	}
	return api.limiter.acquire(ctx, within)
}

// payloadStatus is the Engine API's form of an outcome (execution-apis, paris.md, PayloadStatusV1).
func payloadStatus(outcome importer.Outcome) engine.PayloadStatusV1 {
	switch outcome.Status {
	case importer.Valid:
		return engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: outcome.LatestValid}
	case importer.Invalid:
		reason := outcome.Reason.Error()
		return engine.PayloadStatusV1{Status: engine.INVALID, LatestValidHash: outcome.LatestValid, ValidationError: &reason}
	}
	return engine.PayloadStatusV1{Status: engine.SYNCING}
}

// respond turns the importer's result into the response and counts it. After the response timeout the
// response is SYNCING: the import goes on, and a later call returns its outcome.
func (api *engineAPI) respond(ctx context.Context, method string, outcome importer.Outcome, err error) (engine.PayloadStatusV1, error) {
	status := payloadStatus(outcome)
	label := strings.ToLower(status.Status)
	switch {
	case err != nil && ctx.Err() != nil:
		status, err, label = payloadStatus(importer.Outcome{}), nil, "syncing"
	case errors.Is(err, chain.ErrNotCanonical):
		status, err, label = engine.PayloadStatusV1{}, engine.InvalidForkChoiceState.With(err), "error"
	case err != nil:
		label = "error"
	}
	api.b.metrics.engineRequests.WithLabelValues(method, label).Inc()
	return status, err
}

func invalidStatus() engine.PayloadStatusV1 {
	return engine.PayloadStatusV1{Status: engine.INVALID}
}

func paramsErr(msg string) error { return engine.InvalidParams.With(errors.New(msg)) }

func attributesErr(msg string) error { return engine.InvalidPayloadAttributes.With(errors.New(msg)) }

func forkErr(msg string) error { return engine.UnsupportedFork.With(errors.New(msg)) }
