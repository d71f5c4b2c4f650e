package auth

import (
	"container/list"
	"sync"
)

// Kept keeps what was proven by the SHA-256 of the proof, at most so many, the
// least used forgotten first. It may be used by many goroutines at once.
type Kept[V any] struct {
	most  int
	mu    sync.Mutex
	order *list.List // of *kept[V], the last used first
	byKey map[[32]byte]*list.Element
}

type kept[V any] struct {
	key   [32]byte
	value V
}

// NewKept makes an empty one.
func NewKept[V any](most int) *Kept[V] {
	return &Kept[V]{most: most, order: list.New(), byKey: map[[32]byte]*list.Element{}}
}

// Get is what is kept for the key.
func (k *Kept[V]) Get(key [32]byte) (v V, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	element := k.byKey[key]
	if element == nil {
		return v, false
	}
	k.order.MoveToFront(element)
	return element.Value.(*kept[V]).value, true //nolint:forcetypeassert // the list holds nothing else
}

// Put keeps a value.
func (k *Kept[V]) Put(key [32]byte, v V) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.byKey[key]; old != nil {
		k.order.Remove(old)
	}
	k.byKey[key] = k.order.PushFront(&kept[V]{key, v})
	if k.order.Len() > k.most {
		last := k.order.Back()
		k.order.Remove(last)
		delete(k.byKey, last.Value.(*kept[V]).key) //nolint:forcetypeassert // the list holds nothing else
	}
}
