package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Stage is a world for one run: in a temporary directory, with a binary of the node. It ends by Close.
type Stage struct {
	*World
	dir    string
	binary string // of sunbeam
}

// NewStage makes a world in a directory of its own choice, whatever cfg.Dir says. Meanwhile it builds the node
// from the module around the working directory, unless binary names one.
func NewStage(ctx context.Context, cfg WorldConfig, binary string) (*Stage, error) {
	dir, err := os.MkdirTemp("", "sunbeam")
	if err != nil {
		return nil, err
	}
	s := &Stage{dir: dir, binary: binary}
	var building errgroup.Group
	if binary == "" {
		s.binary = s.Dir("sunbeam")
		building.Go(func() error { return Build(ctx, s.binary) })
	}
	cfg.Dir = dir
	s.World, err = NewWorld(ctx, cfg)
	if err := errors.Join(err, building.Wait()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Dir is where something named so is kept until Close.
func (s *Stage) Dir(name string) string { return filepath.Join(s.dir, name) }

// Node says how to start a node with all geths as peers; it is fresh if no other had the name.
func (s *Stage) Node(name string, args ...string) NodeConfig {
	return NodeConfig{
		Binary: s.binary, Dir: s.Dir(name), Genesis: s.Genesis, Peers: s.Enodes(), JWTFile: s.JWTFile, Secret: s.Secret, Args: args,
	}
}

// Play runs act, and until it returns the world and others. The first error of any ends all.
func (s *Stage) Play(ctx context.Context, act func(context.Context) error, others ...func(context.Context) error) error {
	return during(ctx, act, append(others, s.Run)...)
}

// Close ends the geths, and forgets everything.
func (s *Stage) Close() error {
	defer os.RemoveAll(s.dir)
	if s.World == nil {
		return nil
	}
	return s.World.Close()
}

// during runs act, and others until it returns. The first error of any ends all.
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
