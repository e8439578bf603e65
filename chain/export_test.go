// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
)

// AddBlock stores a block that is not executed. Nodes store blocks when they are executed, or as
// history.
func (c *Chain) AddBlock(block *types.Block) error {
	if err := c.checkRoot(block.Header()); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	if err := c.store.Apply(&Update{Blocks: []*types.Block{block}}); err != nil {
		return fmt.Errorf("keep block %d: %w", block.NumberU64(), err)
	}
	c.cache(block)
	return nil
}
