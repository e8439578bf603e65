// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// NodeDataEnv names a ready nodedata (tools/geth-v1.10/nodedata); it is used as it is.
const NodeDataEnv = "SUNBEAM_NODEDATA"

// Downloaded is what geth v1.10.26 got of a state by hash.
type Downloaded struct {
	Head    common.Hash `json:"head"`    // the node's, by its status
	Nodes   int         `json:"nodes"`   // different ones, as are codes
	Codes   int         `json:"codes"`   //
	Missing int         `json:"missing"` // nodes and codes asked for that the node does not have
	Bytes   uint64      `json:"bytes"`   // of nodes and codes
	Seconds float64     `json:"seconds"` // from the handshake to the last reply

	// What geth's own tries hold, if nothing is missing: it has read all of it.
	Accounts int `json:"accounts"`
	Slots    int `json:"slots"`
}

// String is one line for a test's log.
func (d *Downloaded) String() string {
	got := fmt.Sprintf("%d nodes and %d codes by hash, %.1f MB in %.1f s (%.0f/s)",
		d.Nodes, d.Codes, float64(d.Bytes)/1e6, d.Seconds, float64(d.Nodes+d.Codes)/d.Seconds)
	if d.Missing > 0 {
		return fmt.Sprintf("%s, %d more are not held", got, d.Missing)
	}
	return fmt.Sprintf("%s: all of %d accounts and %d slots", got, d.Accounts, d.Slots)
}

// GetNodeData has the code of geth v1.10.26, in a process of its own, download the state of a root from
// the node at an enode URL by GetNodeData of eth/66, as far as the node has it. The node's chain begins
// with the genesis in a file. The program is built like that of [OldBinary], beside it.
func GetNodeData(ctx context.Context, enode, genesis string, root common.Hash, timeout time.Duration) (*Downloaded, error) {
	binary, err := program{
		env: NodeDataEnv, module: oldModule, pkg: "./nodedata", flags: oldFlags(), always: true,
	}.binary(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "--enode", enode, "--genesis", genesis, "--root", root.Hex(), "--timeout", timeout.String())
	cmd.SysProcAttr = ChildAttributes()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(tail(stderr.Bytes())))
	}
	d := new(Downloaded)
	if err := json.Unmarshal(out, d); err != nil {
		return nil, fmt.Errorf("what nodedata says: %w", err)
	}
	return d, nil
}
