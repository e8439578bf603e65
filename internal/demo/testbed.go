// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Testbed is a network for one run: in a temporary directory, with a binary of the node. It ends by Close.
type Testbed struct {
	*Network
	dir    string
	binary string // of sunbeam
}

// NewTestbed makes a network in a directory of its own choice, whatever cfg.Dir says. Meanwhile it builds the node
// from the module around the working directory, unless binary names one.
func NewTestbed(ctx context.Context, cfg NetworkConfig, binary string) (*Testbed, error) {
	dir, err := os.MkdirTemp("", "sunbeam")
	if err != nil {
		return nil, err
	}
	t := &Testbed{dir: dir, binary: binary}
	var building errgroup.Group
	if binary == "" {
		t.binary = t.Dir("sunbeam")
		building.Go(func() error {
			defer cfg.stage("building sunbeam")()
			return Build(ctx, t.binary)
		})
	}
	cfg.Dir = dir
	t.Network, err = NewNetwork(ctx, cfg)
	if err := errors.Join(err, building.Wait()); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Dir is where something named so is kept until Close.
func (t *Testbed) Dir(name string) string { return filepath.Join(t.dir, name) }

// Node says how to start a node with all geths as peers; it is fresh if no other had the name.
func (t *Testbed) Node(name string, args ...string) NodeConfig {
	return NodeConfig{
		Binary: t.binary, Dir: t.Dir(name), Genesis: t.Genesis, Peers: t.Enodes(), JWTFile: t.JWTFile, Secret: t.Secret, Args: args,
	}
}

// RunScenario runs scenario, and meanwhile the network and others, until scenario returns. The first
// error of any ends all.
func (t *Testbed) RunScenario(ctx context.Context, scenario func(context.Context) error, others ...func(context.Context) error) error {
	return during(ctx, scenario, append(others, t.Run)...)
}

// Close ends the geths and deletes all files.
func (t *Testbed) Close() error {
	defer os.RemoveAll(t.dir)
	if t.Network == nil {
		return nil
	}
	return t.Network.Close()
}

// during runs act, and others concurrently until act returns. The first error of any ends all.
func during(ctx context.Context, act func(context.Context) error, others ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	until, end := context.WithCancel(ctx)
	defer end()
	for _, other := range others {
		group.Go(func() error { return other(until) })
	}
	group.Go(func() error {
		defer end()
		return act(ctx)
	})
	return group.Wait()
}
