// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/console"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/config"
)

// attach opens go-ethereum's JavaScript console on a running node, or executes one statement there.
func (a *app) attach(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	settings := a.flags.Console()
	cfg, _, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	client, err := dial(c.Context, cfg, c.Args().First(), settings.Headers)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.SupportedModules(); err != nil {
		return fmt.Errorf("the node does not answer: %w", err)
	}
	dir := cfg.DataDir
	if _, err := os.Stat(dir); err != nil { // a node elsewhere: its datadir is not to be made here
		dir = os.TempDir()
	}
	printer := &switched{a.stdout}
	js, err := openConsole(console.Config{DataDir: dir, DocRoot: settings.JSPath, Client: client, Preload: absolute(settings.JSPath, settings.Preload)}, printer)
	if err != nil {
		return err
	}
	defer js.Stop(false)
	if settings.Exec != "" {
		return execute(js, printer, settings.Exec)
	}
	js.Welcome()
	js.Interactive()
	return nil
}

// absolute finds files to preload, as geth does.
func absolute(root string, files []string) []string {
	for i, file := range files {
		if !filepath.IsAbs(file) {
			files[i] = filepath.Join(root, file)
		}
	}
	return files
}

// dial connects to a running node: at the endpoint given, or else at the socket of the datadir.
func dial(ctx context.Context, cfg *config.Config, endpoint string, headers []string) (*gethrpc.Client, error) {
	if endpoint == "" {
		sockets := cfg.Sockets()
		for _, path := range sockets {
			if _, err := os.Stat(path); err == nil {
				endpoint = path
				break
			}
		}
		if endpoint == "" {
			return nil, fmt.Errorf("no node runs on %s (there is no socket %s): name its --datadir, or its endpoint", cfg.DataDir, strings.Join(sockets, " nor "))
		}
	}
	fields := make(http.Header)
	for _, header := range headers {
		key, value, ok := strings.Cut(header, ":")
		if !ok {
			return nil, fmt.Errorf("bad value %q for --header: want key:value", header)
		}
		fields.Add(strings.TrimSpace(key), strings.TrimSpace(value))
	}
	client, err := gethrpc.DialOptions(ctx, endpoint, gethrpc.WithHeaders(fields))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no node answers at %s", config.WithoutCredentials(endpoint)), err)
	}
	return client, nil
}
