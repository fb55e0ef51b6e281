// Verifies a ledger folder with Go's own implementation of notes and trees (golang.org/x/mod/sumdb),
// which shares nothing with Holdfast's:
// verify_folder [-first N -last N] LOG_KEY SAVED|- QUORUM FOLDER [WITNESS_KEY...]
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads a folder in the form of C2SP tlog-tiles: as the package's own, without the height.
type tiles string

func (t tiles) path(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tile.H))
	return filepath.Join(string(t), "tile", strings.Replace(path, "data/", "entries/", 1))
}
func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(l []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range l {
		bytes, err := os.ReadFile(t.path(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

func checkBundle(folder tiles, tree tlog.Tree, hashes tlog.HashReader, first int64) {
	width := tree.N - first
	if width > 256 {
		width = 256
	}
	bytes, err := os.ReadFile(folder.path(tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}))
	must(err)
	var indexes []int64
	for i := first; i < first+width; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	expected, err := hashes.ReadHashes(indexes)
	must(err)
	for i := range expected {
		if len(bytes) < 2 || len(bytes) < 2+int(binary.BigEndian.Uint16(bytes)) {
			must(fmt.Errorf("entry %d is missing", first+int64(i)))
		}
		end := 2 + int(binary.BigEndian.Uint16(bytes))
		if tlog.RecordHash(bytes[2:end]) != expected[i] {
			must(fmt.Errorf("entry %d was changed", first+int64(i)))
		}
		bytes = bytes[end:]
	}
	if len(bytes) > 0 {
		must(fmt.Errorf("bytes are left over after entry %d", first+width-1))
	}
}

func main() {
	first := flag.Int64("first", 0, "check no entry before that one")
	last := flag.Int64("last", -1, "check none after it")
	flag.Parse()
	key, saved, folder := flag.Arg(0), flag.Arg(1), tiles(flag.Arg(3))
	quorum, err := strconv.Atoi(flag.Arg(2))
	must(err)
	known, log := verifiers(key, flag.Args()[4:])
	tree, vouching := openCheckpoint(filepath.Join(string(folder), "checkpoint"), known, log)
	askQuorum(vouching, quorum)
	hashes := tlog.TileHashReader(tree, folder)
	end := tree.N
	if *last >= 0 {
		end = *last + 1
	}
	if end > tree.N {
		must(fmt.Errorf("the checkpoint is of %d entries", tree.N))
	}
	for at := *first / 256 * 256; at < end; at += 256 {
		checkBundle(folder, tree, hashes, at)
	}
	if saved != "-" {
		old, _ := openCheckpoint(saved, known, log)
		if old.N > tree.N {
			must(fmt.Errorf("the log shrank from %d to %d", old.N, tree.N))
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		must(err)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}
	fmt.Println("verified", tree.N, vouching)
}
