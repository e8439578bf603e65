package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
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

// ExchangeCapabilities returns the methods of this namespace.
func (api *engineAPI) ExchangeCapabilities([]string) []string {
	methods := reflect.TypeOf(api)
	names := make([]string, 0, methods.NumMethod())
	for i := range methods.NumMethod() {
		name := []rune(methods.Method(i).Name)
		if string(name) == "ExchangeCapabilities" {
			continue
		}
		names = append(names, "engine_"+string(unicode.ToLower(name[0]))+string(name[1:]))
	}
	return names
}

// GetClientVersionV1 says what this node is.
func (api *engineAPI) GetClientVersionV1(caller engine.ClientVersionV1) []engine.ClientVersionV1 {
	id := api.b.cfg.Identity
	commit := make([]byte, 4)
	copy(commit, common.FromHex(id.Commit))
	api.b.log.Debug("Consensus client says its version", "client", caller.String())
	return []engine.ClientVersionV1{{Code: id.Code, Name: id.Client, Version: id.Version, Commit: hexutil.Encode(commit)}}
}

// ExchangeTransitionConfigurationV1 compares what both sides know of the merge.
func (api *engineAPI) ExchangeTransitionConfigurationV1(config engine.TransitionConfigurationV1) (*engine.TransitionConfigurationV1, error) {
	ttd := api.config().TerminalTotalDifficulty
	switch {
	case config.TerminalTotalDifficulty == nil:
		return nil, errors.New("invalid terminal total difficulty")
	case ttd == nil || ttd.Cmp(config.TerminalTotalDifficulty.ToInt()) != 0:
		return nil, fmt.Errorf("invalid ttd: execution %v consensus %v", ttd, config.TerminalTotalDifficulty)
	}
	answer := &engine.TransitionConfigurationV1{TerminalTotalDifficulty: (*hexutil.Big)(ttd)}
	if config.TerminalBlockHash == (common.Hash{}) {
		return answer, nil
	}
	header := api.b.Chain.HeaderByNumber(uint64(config.TerminalBlockNumber))
	if header == nil || header.Hash() != config.TerminalBlockHash {
		return nil, errors.New("invalid terminal block hash")
	}
	answer.TerminalBlockHash, answer.TerminalBlockNumber = config.TerminalBlockHash, config.TerminalBlockNumber
	return answer, nil
}

// newPayload makes a block of a payload and asks the importer about it. A payload that
// makes no block, or another than it says, is INVALID without a latest valid hash.
func (api *engineAPI) newPayload(ctx context.Context, method string, within time.Duration, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, requests [][]byte) (engine.PayloadStatusV1, error) {
	if slices.Contains(data.Withdrawals, (*types.Withdrawal)(nil)) {
		return invalidStatus(), paramsErr("null withdrawal")
	}
	ctx, leave, err := api.enter(ctx, within)
	if err != nil {
		return api.settle(ctx, method, engine.PayloadStatusV1{}, err)
	}
	defer leave()
	block, err := engine.ExecutableDataToBlock(data, versionedHashes, beaconRoot, requests)
	if err != nil {
		api.b.log.Warn("Payload makes no block", "number", data.Number, "hash", data.BlockHash, "err", err)
		message := err.Error()
		return api.settle(ctx, method, engine.PayloadStatusV1{Status: engine.INVALID, ValidationError: &message}, nil)
	}
	status, err := api.b.Engine.NewPayload(ctx, block)
	return api.settle(ctx, method, status, err)
}

// forkchoiceUpdated asks the importer to make a block the head.
func (api *engineAPI) forkchoiceUpdated(ctx context.Context, method string, within time.Duration, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if update.HeadBlockHash == (common.Hash{}) {
		return engine.STATUS_INVALID, nil
	}
	ctx, leave, err := api.enter(ctx, within)
	if err != nil {
		status, err := api.settle(ctx, method, engine.PayloadStatusV1{}, err)
		return engine.ForkChoiceResponse{PayloadStatus: status}, err
	}
	defer leave()
	status, err := api.b.Engine.Forkchoice(ctx, update)
	status, err = api.settle(ctx, method, status, err)
	answer := engine.ForkChoiceResponse{PayloadStatus: status}
	if err != nil || attributes == nil || status.Status != engine.VALID {
		return answer, err
	}
	if head := api.b.Chain.Header(update.HeadBlockHash); head != nil && attributes.Timestamp <= head.Time {
		return answer, attributesErr(fmt.Sprintf("invalid timestamp: %d, head has %d", attributes.Timestamp, head.Time))
	}
	api.b.log.Warn("Asked to build a block, which this node cannot: no payload id",
		slog.Uint64("timestamp", attributes.Timestamp), slog.Any("head", update.HeadBlockHash))
	return answer, nil
}

func invalidStatus() engine.PayloadStatusV1 {
	return engine.PayloadStatusV1{Status: engine.INVALID}
}

func paramsErr(msg string) error     { return engine.InvalidParams.With(errors.New(msg)) }
func attributesErr(msg string) error { return engine.InvalidPayloadAttributes.With(errors.New(msg)) }
func forkErr(msg string) error       { return engine.UnsupportedFork.With(errors.New(msg)) }
