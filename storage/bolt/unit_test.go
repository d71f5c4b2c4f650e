package bolt

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestUnitReadsItsWrites: a unit of any size reads what its own commands wrote last,
// in each bucket, and hands just that over.
func TestUnitReadsItsWrites(t *testing.T) {
	for _, keys := range []int{1, fewWrites, fewWrites + 1, 10 * fewWrites} {
		s := newStore(t, Config{})
		err := s.db.Update(func(tx *bbolt.Tx) error {
			u := newUnit(tx, 0, time.Time{}, time.Time{})
			key := func(i int) []byte { return fmt.Appendf(nil, "key %d", i) }
			for i := range keys {
				u.put(bucketSAN, key(i), []byte("old"))
				u.put(bucketSAN, key(i), key(i))
				u.put(bucketOwner, key(i), nil)
				u.delete(bucketOwner, key(i))
			}
			for i := range keys {
				if got := string(u.get(bucketSAN, key(i))); got != string(key(i)) {
					t.Errorf("%d keys: %s has %q", keys, key(i), got)
				}
				if u.has(bucketOwner, key(i)) {
					t.Errorf("%d keys: %s is there after it was deleted", keys, key(i))
				}
			}
			if len(u.writes) != 2*keys {
				t.Errorf("%d keys in two buckets: %d writes", keys, len(u.writes))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
