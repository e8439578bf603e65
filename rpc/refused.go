// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"fmt"
)

// Methods of go-ethereum that this node refuses, so that a caller learns why.

// anyParam is a parameter that does not matter.
type anyParam = *json.RawMessage

// Why methods are refused.
const (
	noPreimages = "accounts and slots are stored by the hashes of their keys only"
	itsDatabase = "the database is the node's own; stop the node to look into it"
	noRewind    = "the consensus client decides the head"
	noFlush     = "state is written with each block"
	noFiles     = "it reads or writes a file of the node's machine"
	noKeys      = "the node has no keys: sign with a wallet, and send with eth_sendRawTransaction"
	noMiner     = "the consensus client decides what is built"
)

// refusals are the refused methods with the reasons.
var refusals = map[string]string{ //nolint:gochecknoglobals // never written
	"debug_preimage":                    noPreimages,
	"debug_chaindbCompact":              itsDatabase,
	"debug_dbAncient":                   itsDatabase,
	"debug_dbAncients":                  itsDatabase,
	"debug_dbGet":                       itsDatabase,
	"debug_printBlock":                  "it prints go-ethereum's own structures: use debug_getRawBlock",
	"debug_clearTxpool":                 "the pool is cleared by a restart",
	"debug_setHead":                     noRewind,
	"debug_getTrieFlushInterval":        noFlush,
	"debug_setTrieFlushInterval":        noFlush,
	"debug_replayBadBlock":              "it replays a block with the record of its failure, which is not kept: use debug_traceBadBlock",
	"debug_standardTraceBadBlockToFile": noFiles,
	"debug_standardTraceBlockToFile":    noFiles,
	"debug_discoveryV4Table":            "the tables of discovery are not shown: admin_peers has the connected nodes",
	"eth_sign":                          noKeys,
	"eth_signTransaction":               noKeys,
	"eth_sendTransaction":               noKeys,
	"eth_resend":                        noKeys,
	"miner_setExtra":                    noMiner,
	"miner_setGasLimit":                 noMiner,
	"miner_setGasPrice":                 noMiner,
}

// refuse is the error of a refused method.
func refuse(method string) error {
	return &codedError{codeServer, fmt.Sprintf("%s is not supported: %s", method, refusals[method])}
}

type (
	refusedDebugAPI struct{}
	refusedEthAPI   struct{}
	refusedMinerAPI struct{}
)

func (refusedDebugAPI) Preimage(_, _, _ anyParam) error       { return refuse("debug_preimage") }
func (refusedDebugAPI) ChaindbCompact(_, _, _ anyParam) error { return refuse("debug_chaindbCompact") }

func (refusedDebugAPI) DbAncient(_, _, _ anyParam) error   { return refuse("debug_dbAncient") }
func (refusedDebugAPI) DbAncients(_, _, _ anyParam) error  { return refuse("debug_dbAncients") }
func (refusedDebugAPI) DbGet(_, _, _ anyParam) error       { return refuse("debug_dbGet") }
func (refusedDebugAPI) PrintBlock(_ anyParam) error        { return refuse("debug_printBlock") }
func (refusedDebugAPI) ClearTxpool(_, _, _ anyParam) error { return refuse("debug_clearTxpool") }
func (refusedDebugAPI) SetHead(_, _, _ anyParam) error     { return refuse("debug_setHead") }
func (refusedDebugAPI) GetTrieFlushInterval(_, _, _ anyParam) error {
	return refuse("debug_getTrieFlushInterval")
}

func (refusedDebugAPI) SetTrieFlushInterval(_, _, _ anyParam) error {
	return refuse("debug_setTrieFlushInterval")
}

func (refusedDebugAPI) ReplayBadBlock(_, _, _ anyParam) error { return refuse("debug_replayBadBlock") }

func (refusedDebugAPI) StandardTraceBadBlockToFile(_, _, _ anyParam) error {
	return refuse("debug_standardTraceBadBlockToFile")
}

func (refusedDebugAPI) StandardTraceBlockToFile(_, _, _ anyParam) error {
	return refuse("debug_standardTraceBlockToFile")
}

func (refusedDebugAPI) DiscoveryV4Table(_, _, _ anyParam) error {
	return refuse("debug_discoveryV4Table")
}

func (refusedEthAPI) Sign(_, _, _ anyParam) error            { return refuse("eth_sign") }
func (refusedEthAPI) SignTransaction(_, _, _ anyParam) error { return refuse("eth_signTransaction") }

func (refusedEthAPI) SendTransaction(_, _, _ anyParam) error { return refuse("eth_sendTransaction") }
func (refusedEthAPI) Resend(_, _, _ anyParam) error          { return refuse("eth_resend") }

func (refusedMinerAPI) SetExtra(_, _, _ anyParam) error    { return refuse("miner_setExtra") }
func (refusedMinerAPI) SetGasLimit(_, _, _ anyParam) error { return refuse("miner_setGasLimit") }

func (refusedMinerAPI) SetGasPrice(_, _, _ anyParam) error { return refuse("miner_setGasPrice") }
