// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// logOverhead estimates the JSON of a log without its topics and data, in bytes.
const logOverhead = 520

// logResult are the logs of one response, with their limits.
type logResult struct {
	limits Logs
	logs   []*types.Log // not nil, so that none is an empty list
	bytes  int          // of JSON, estimated
}

func newLogResult(limits Logs) *logResult { return &logResult{limits: limits, logs: []*types.Log{}} }

func (r *logResult) add(logs []*types.Log) {
	r.logs = append(r.logs, logs...)
	for _, log := range logs {
		r.bytes += logOverhead + len(log.Topics)*(2*common.HashLength+5) + 2*len(log.Data)
	}
}

// full reports whether no more logs should be added.
func (r *logResult) full() bool { return len(r.logs) >= r.limits.Results || r.bytes >= r.limits.Bytes }

// check refuses a result beyond a limit. The logs are those of the blocks from first to last.
func (r *logResult) check(first, last uint64) error {
	var exceeded string
	switch {
	case first == last: // no shorter range could be asked for
		return nil
	case len(r.logs) > r.limits.Results:
		exceeded = fmt.Sprintf("%d logs (--rpc.max-logs-per-response)", r.limits.Results)
	case r.bytes > r.limits.Bytes:
		exceeded = fmt.Sprintf("%d bytes of logs (--rpc.logs-response-max-size)", r.limits.Bytes)
	default:
		return nil
	}
	return &codedError{codeLimitExceeded, fmt.Sprintf(
		"query returns more than %s, ask for fewer blocks: the limit allows blocks %#x to %#x", exceeded, first, last-1)}
}
