/*
 * soft/heap.c
 *		The min-max heap: on even levels a key is the smallest of its subtree,
 *		on odd levels the largest.
 */
#include "soft/heap.h"

#include "port/pg_bitutils.h"

static inline bool
on_min_level(int32 i)
{
	return pg_leftmost_one_pos32((uint32) i + 1) % 2 == 0;
}

static inline int32
parent(int32 i)
{
	return (i - 1) / 2;
}

static inline void
swap(Heap *heap, int32 a, int32 b)
{
	ReadyKey	key = heap->keys[a];

	heap->keys[a] = heap->keys[b];
	heap->keys[b] = key;
}

/* Whether key a belongs above key b on a min level, or, turned, on a max level. */
static inline bool
above(const Heap *heap, int32 a, int32 b, bool min)
{
	int			order = ready_key_compare(heap->keys[a], heap->keys[b]);

	return min ? order < 0 : order > 0;
}

void
heap_init(Heap *heap, int32 capacity)
{
	heap->count = 0;
	heap->capacity = capacity;
}

/* Moves the key at i up by two levels at a time. */
static void
rise(Heap *heap, int32 i, bool min)
{
	while (i > 2 && above(heap, i, parent(parent(i)), min))
	{
		swap(heap, i, parent(parent(i)));
		i = parent(parent(i));
	}
}

/* Adds a key; there is room. */
void
heap_add(Heap *heap, ReadyKey key)
{
	int32		i = heap->count++;
	bool		min = on_min_level(i);

	Assert(i < heap->capacity);
	heap->keys[i] = key;
	if (i > 0 && above(heap, parent(i), i, min))
	{
		swap(heap, i, parent(i));
		rise(heap, parent(i), !min);
	}
	else
		rise(heap, i, min);
}

/* The descendant of i, at most two levels down, that belongs above the others. */
static int32
first_below(const Heap *heap, int32 i, bool min)
{
	int32		first = 2 * i + 1;
	int32		below[5] = {2 * i + 2, 4 * i + 3, 4 * i + 4, 4 * i + 5, 4 * i + 6};

	for (int n = 0; n < lengthof(below) && below[n] < heap->count; n++)
		if (above(heap, below[n], first, min))
			first = below[n];
	return first;
}

/* Lets the key at i find its place below. */
static void
sink(Heap *heap, int32 i)
{
	bool		min = on_min_level(i);

	while (2 * i + 1 < heap->count)
	{
		int32		m = first_below(heap, i, min);

		if (!above(heap, m, i, min))
			return;
		swap(heap, m, i);
		if (m <= 2 * i + 2)
			return;				/* a child: nothing is below it that matters */
		if (above(heap, parent(m), m, min))
			swap(heap, m, parent(m));
		i = m;
	}
}

static void
remove_at(Heap *heap, int32 i)
{
	heap->keys[i] = heap->keys[--heap->count];
	if (i < heap->count)
		sink(heap, i);
}

static int32
largest_at(const Heap *heap)
{
	if (heap->count <= 2)
		return heap->count - 1;
	return ready_key_compare(heap->keys[1], heap->keys[2]) >= 0 ? 1 : 2;
}

/* These need a heap that is not empty. */
ReadyKey
heap_smallest(const Heap *heap)
{
	Assert(heap->count > 0);
	return heap->keys[0];
}

ReadyKey
heap_largest(const Heap *heap)
{
	Assert(heap->count > 0);
	return heap->keys[largest_at(heap)];
}

ReadyKey
heap_take_smallest(Heap *heap)
{
	ReadyKey	key = heap_smallest(heap);

	remove_at(heap, 0);
	return key;
}

/* Drops every key that is not below the bound. */
void
heap_drop_from(Heap *heap, ReadyKey bound)
{
	while (heap->count > 0 && ready_key_compare(heap_largest(heap), bound) >= 0)
		remove_at(heap, largest_at(heap));
}

/* The order of keys, for qsort and bsearch. */
int
heap_order(const void *a, const void *b)
{
	return ready_key_compare(*(const ReadyKey *) a, *(const ReadyKey *) b);
}

/* Copies the keys, in no order; returns how many. */
int
heap_copy(const Heap *heap, ReadyKey *copy)
{
	memcpy(copy, heap->keys, heap->count * sizeof(ReadyKey));
	return heap->count;
}

/* Whether the key is there; looks at all of them. */
bool
heap_contains(const Heap *heap, ReadyKey key)
{
	for (int32 i = 0; i < heap->count; i++)
		if (ready_key_compare(heap->keys[i], key) == 0)
			return true;
	return false;
}

/* Whether every key is where it belongs; for tests. */
bool
heap_is_valid(const Heap *heap)
{
	if (heap->count < 0 || heap->count > heap->capacity)
		return false;
	for (int32 i = 1; i < heap->count; i++)
	{
		bool		min = on_min_level(i);

		if (above(heap, parent(i), i, min))
			return false;
		if (i > 2 && above(heap, i, parent(parent(i)), min))
			return false;
	}
	return true;
}
