// SPDX-License-Identifier: LGPL-3.0-or-later

// Package top shows in a terminal what the status page shows in a browser: the same [page.State], which the node computes once for
// both. [Render] draws a frame as lines of styled text, a pure function of a [View]; [Once] prints one, [Run] puts one a second on a
// screen until a key ends it.
//
// Names of peers are strangers' words: characters that a terminal could obey are replaced.
package top
