// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// statusTimeout bounds a health check: a node that is busy answers within it.
const statusTimeout = 10 * time.Second

// report is what the status command says of a node.
type report struct {
	version string
	block   hexutil.Uint64
	peers   hexutil.Uint64
	counted bool   // whether peers says something
	phase   string // empty if the endpoint does not serve the beam namespace
	verdict
}

// verdict is what the node says of its readiness: in beam_status and at /ready alike.
type verdict struct {
	Ready  bool
	Reason string
	Checks map[string]health.Check
}

// reasons are all of them, the weightiest first.
func (v *verdict) reasons() string {
	all := []string{v.Reason}
	for _, name := range slices.Sorted(maps.Keys(v.Checks)) {
		if reason := v.Checks[name].Reason; reason != "" && reason != v.Reason {
			all = append(all, reason)
		}
	}
	return strings.Join(all, "; ")
}

// status prints how a running node is. It is an error, and so the exit code 1, if the node does not answer or is not ready.
func (a *app) status(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	headers := a.flags.Console().Headers
	cfg, _, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, statusTimeout)
	defer cancel()
	client, err := dial(ctx, cfg, c.Args().First(), headers)
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := inspectNode(ctx, client, c.Args().First())
	if err != nil {
		return err
	}
	parts := []string{cmp.Or(r.version, "node"), r.phase, fmt.Sprintf("block %d", uint64(r.block))}
	if r.counted {
		parts = append(parts, fmt.Sprintf("%d peers", uint64(r.peers)))
	}
	fmt.Fprintln(a.stdout, strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", "))
	if !r.Ready {
		return fmt.Errorf("not ready: %s", r.reasons())
	}
	_, err = fmt.Fprintln(a.stdout, "ready")
	return err
}

// inspectNode asks for readiness in the way that the endpoint offers: by beam_status, else by /ready, which says the same.
func inspectNode(ctx context.Context, client *gethrpc.Client, endpoint string) (*report, error) {
	r := new(report)
	if err := client.CallContext(ctx, &r.block, "eth_blockNumber"); err != nil {
		return nil, fmt.Errorf("the node does not answer eth_blockNumber: %w", err)
	}
	// Not each endpoint serves the other namespaces.
	for method, result := range map[string]any{"web3_clientVersion": &r.version, "net_peerCount": &r.peers} {
		if err := client.CallContext(ctx, result, method); err == nil && method == "net_peerCount" {
			r.counted = true
		}
	}
	var beam struct {
		Phase string
		verdict
	}
	err := client.CallContext(ctx, &beam, "beam_status")
	var answered gethrpc.Error
	switch {
	case err == nil:
		r.phase, r.verdict = beam.Phase, beam.verdict
		return r, nil
	case !errors.As(err, &answered):
		return nil, fmt.Errorf("the node does not answer beam_status: %w", err)
	}
	if r.verdict, err = askReady(ctx, endpoint); err != nil {
		return nil, fmt.Errorf("whether the node is ready is not known: the endpoint does not serve the beam namespace (--http.api, --ws.api), and %w", err)
	}
	return r, nil
}

// askReady asks the HTTP endpoint of JSON-RPC, which answers /ready whatever namespaces it serves.
func askReady(ctx context.Context, endpoint string) (v verdict, err error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return v, errors.New("only HTTP has " + health.ReadyPath)
	}
	u.Path, u.RawQuery = health.ReadyPath, ""
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return v, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return v, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil || !v.Ready && v.Reason == "" {
		return v, fmt.Errorf("%s answers %s", health.ReadyPath, response.Status)
	}
	return v, nil
}
