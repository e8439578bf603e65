// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unicode"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// ExchangeCapabilities returns the methods of this namespace. A consensus client that has getBlobsV4 asks for
// cells of blobs, as go-ethereum assumes.
func (api *engineAPI) ExchangeCapabilities(theirs []string) []string {
	api.b.Blobs.CacheCells(slices.Contains(theirs, "engine_getBlobsV4"))
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

// GetClientVersionV1 returns name and version of this node.
func (api *engineAPI) GetClientVersionV1(caller engine.ClientVersionV1) []engine.ClientVersionV1 {
	id := api.b.cfg.Identity
	commit := make([]byte, 4)
	copy(commit, common.FromHex(id.Commit))
	api.b.log.Debug("Received consensus client version", "client", caller.String())
	return []engine.ClientVersionV1{{Code: id.Code, Name: id.Client, Version: id.Version, Commit: hexutil.Encode(commit)}}
}

// ExchangeTransitionConfigurationV1 compares the merge configuration of both clients.
func (api *engineAPI) ExchangeTransitionConfigurationV1(config engine.TransitionConfigurationV1) (*engine.TransitionConfigurationV1, error) {
	ttd := api.config().TerminalTotalDifficulty
	switch {
	case config.TerminalTotalDifficulty == nil:
		return nil, errors.New("invalid terminal total difficulty")
	case ttd == nil || ttd.Cmp(config.TerminalTotalDifficulty.ToInt()) != 0:
		return nil, fmt.Errorf("invalid ttd: execution %v consensus %v", ttd, config.TerminalTotalDifficulty)
	}
	result := &engine.TransitionConfigurationV1{TerminalTotalDifficulty: (*hexutil.Big)(ttd)}
	if config.TerminalBlockHash == (common.Hash{}) {
		return result, nil
	}
	header := api.b.Chain.HeaderByNumber(uint64(config.TerminalBlockNumber))
	if header == nil || header.Hash() != config.TerminalBlockHash {
		return nil, errors.New("invalid terminal block hash")
	}
	result.TerminalBlockHash, result.TerminalBlockNumber = config.TerminalBlockHash, config.TerminalBlockNumber
	return result, nil
}
