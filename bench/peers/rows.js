/**
 * The rows of the table. `aim` is the multiple of the best native engine that Varve is to reach; for bytes a
 * smaller figure is better and the multiple is taken the other way round. A row without an aim is only shown.
 */
export const ROWS = [
  { id: 'fill', title: 'fill random, batches of 1,000', aim: 2.2 },
  { id: 'put-256', title: 'put, 256 in flight', aim: 5 },
  { id: 'put-one', title: 'put, awaited one by one', aim: 6 },
  { id: 'durable-one', title: 'put durable, one by one', aim: 1.1 },
  { id: 'durable-64', title: 'put durable, 64 in flight', aim: 6 },
  ...readRows('fresh'),
  ...readRows('settled'),
  { id: 'disk', title: 'disk after fill', aim: 1, bytes: true },
  { id: 'rss', title: 'resident memory at the end', bytes: true },
]

function readRows(state) {
  return [
    { id: `get-one ${state}`, title: `get, awaited one by one (${state})`, aim: 1.6 },
    { id: `get-64 ${state}`, title: `get, 64 in flight (${state})`, aim: 2 },
    { id: `sync-hit ${state}`, title: `getSync, hit (${state})`, aim: 2 },
    { id: `sync-miss ${state}`, title: `getSync, missing key (${state})`, aim: 1.8 },
    { id: `get-many ${state}`, title: `getMany of 100 (${state})`, aim: 3.5 },
    { id: `scan ${state}`, title: `scan everything (${state})`, aim: 4 },
    { id: `seek ${state}`, title: `seek + next 10 (${state})`, aim: 2.5 },
  ]
}
