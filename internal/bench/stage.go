package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// StageOptions is what measurements on a chain that geths build on a generated state have in common.
type StageOptions struct {
	State    stategen.Spec
	RTT      time.Duration // of each link
	Slot     time.Duration // from block to block
	Gas      uint64        // that each block uses, about
	CacheDir string        // for generated states
	Sunbeam  string        // binary; empty: built from the module around the working directory
	JSON     bool          // nothing but the results
	Progress io.Writer     // is told what takes long
}

// check finds what is impossible; least is the gas that a block needs.
func (o *StageOptions) check(least uint64) error {
	switch {
	case o.RTT < 0 || o.Slot <= 0:
		return fmt.Errorf("round trip %v, slot %v: one is negative, or the slot is nothing", o.RTT, o.Slot)
	case o.Gas < least || o.Gas > 500_000_000:
		return fmt.Errorf("%d gas in a block: %d to 500 million are possible", o.Gas, least)
	case o.State.Accounts < 1 || o.State.Senders < 1 || o.State.Contracts < 1:
		return errors.New("a state without accounts, senders or contracts")
	}
	return o.State.Check()
}

// stage makes a world with so many geths that have the state.
func (o *StageOptions) stage(ctx context.Context, geths int) (*demo.Testbed, error) {
	return demo.NewTestbed(ctx, demo.NetworkConfig{
		State: o.State, Link: simnet.Link{Delay: o.RTT / 2}, CacheDir: o.CacheDir,
		Seed: 1, Geths: geths, Progress: o.Progress, Log: slog.New(slog.DiscardHandler),
	}, o.Sunbeam)
}

// say tells how far a measurement is.
func (o *StageOptions) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}
