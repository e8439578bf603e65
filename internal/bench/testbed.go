// SPDX-License-Identifier: LGPL-3.0-or-later

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

// TestbedOptions are the options that all measurements on a chain have which geth builds on a generated state.
type TestbedOptions struct {
	State    stategen.Spec
	RTT      time.Duration // of each link
	Slot     time.Duration // from block to block
	Gas      uint64        // that each block uses, about
	CacheDir string        // for generated states
	Sunbeam  string        // binary; empty: built from the module around the working directory
	JSON     bool          // nothing but the results
	Progress io.Writer     // gets a line about each step that takes long; may be nil
}

// check validates the options; least is the lowest gas that a block can use.
func (o *TestbedOptions) check(least uint64) error {
	switch {
	case o.RTT < 0 || o.Slot <= 0:
		return fmt.Errorf("round trip %v, slot %v: neither may be negative, and the slot not zero", o.RTT, o.Slot)
	case o.Gas < least || o.Gas > 500_000_000:
		return fmt.Errorf("%d gas in a block: %d to 500 million are possible", o.Gas, least)
	case o.State.Accounts < 1 || o.State.Senders < 1 || o.State.Contracts < 1:
		return errors.New("a state without accounts, senders or contracts")
	}
	return o.State.Check()
}

// newTestbed makes a network with so many geths that have the state.
func (o *TestbedOptions) newTestbed(ctx context.Context, geths int) (*demo.Testbed, error) {
	return demo.NewTestbed(ctx, demo.NetworkConfig{
		State: o.State, Link: simnet.Link{Delay: o.RTT / 2}, CacheDir: o.CacheDir,
		Seed: 1, Geths: geths, Progress: o.Progress, Log: slog.New(slog.DiscardHandler),
	}, o.Sunbeam)
}

// report prints how far a measurement is.
func (o *TestbedOptions) report(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}
