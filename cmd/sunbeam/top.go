// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/page"
	"github.com/sunbeam-eth/sunbeam/internal/top"
)

// pipeWidth is the width of a frame that goes to no terminal, in cells.
const pipeWidth = 120

// top shows in the terminal what a running node does, until q or Ctrl-C; or once, without a terminal too.
func (a *app) top(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	headers := a.flags.Console().Headers
	cfg, _, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	node := &remote{dial: func(ctx context.Context) (*gethrpc.Client, error) { return dial(ctx, cfg, c.Args().First(), headers) }}
	defer node.close()
	if c.Bool("once") || !isTerminal(a.stdout) {
		ctx, cancel := context.WithTimeout(c.Context, statusTimeout)
		defer cancel()
		return top.Once(ctx, node.overview, a.stdout, onceWidth(a.stdout))
	}
	if _, err := node.overview(c.Context); err != nil {
		return err // of the command line, or of a node that is too old: nothing to wait for
	}
	return top.Run(c.Context, node.overview)
}

// onceWidth is how wide a single frame is, in cells: as the terminal, if it goes to one.
func onceWidth(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 { //nolint:gosec // a small number
			return width
		}
	}
	return pipeWidth
}

// remote is a running node that may go away and come back. Its methods are not for concurrent use.
type remote struct {
	dial   func(context.Context) (*gethrpc.Client, error)
	client *gethrpc.Client // nil while there is no connection
}

// overview asks for what the status page shows.
func (r *remote) overview(ctx context.Context) (*page.State, error) {
	if r.client == nil {
		client, err := r.dial(ctx)
		if err != nil {
			return nil, err
		}
		r.client = client
	}
	state := new(page.State)
	err := r.client.CallContext(ctx, state, "beam_overview")
	var answered gethrpc.Error
	switch {
	case err == nil:
		return state, nil
	case errors.As(err, &answered) && answered.ErrorCode() == methodNotFound:
		return nil, errors.New("the endpoint does not serve beam_overview: name beam in --http.api or --ws.api of the node, or use its IPC socket")
	case errors.As(err, &answered):
		return nil, err
	}
	r.close()
	return nil, fmt.Errorf("connection lost: %w", err)
}

func (r *remote) close() {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}

// methodNotFound is the error code of JSON-RPC 2.0.
const methodNotFound = -32601
