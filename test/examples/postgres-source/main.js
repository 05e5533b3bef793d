// @ts-check
// node main.js <store directory> <connection string> <publication> <slot> [stop|copy]
// Follows PostgreSQL until SIGTERM or SIGINT, and prints what it does as JSON lines.
import { open } from 'varve'
import { followPostgres } from './postgres-source.js'

const [directory = '', connectionString = '', publication = '', slot = '', whenLost = 'stop'] =
  process.argv.slice(2)
const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stopping.abort())

const store = await open(directory, { valueEncoding: 'json', log: { maxBytes: 1024 ** 3 } })
try {
  await followPostgres(/** @type {import('./transaction.js').Store} */ (store), {
    connection: { connectionString },
    publication,
    slot,
    whenLost: whenLost === 'copy' ? 'copy' : 'stop',
    onEvent: (event) => console.log(JSON.stringify(event)),
    signal: stopping.signal,
  })
} finally {
  await store.close()
}
