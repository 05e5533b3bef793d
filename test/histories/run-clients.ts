import { expect } from 'vitest'
import { encryptionNote } from '../encryption/share.js'
import { Clients, TOTAL } from './clients.js'
import { isLinearizable } from './linearizability.js'

/** Runs many histories and checks each; a line about them. */
export async function runClients(first: number, count: number): Promise<string> {
  let calls = 0
  let sums = 0
  let crashes = 0
  let transfers = 0
  for (let seed = first; seed < first + count; seed++) {
    const clients = new Clients(seed)
    await clients.run(3, 6, 8)
    for (const key of new Set(clients.calls.map((call) => call.key))) {
      const onKey = clients.calls.filter((call) => call.key === key)
      expect(isLinearizable(onKey), `seed ${seed}, key ${key}${encryptionNote(seed)}`).toBe(true)
    }
    expect(new Set(clients.sums), `seed ${seed}${encryptionNote(seed)}`).toEqual(new Set([TOTAL]))
    calls += clients.calls.length
    sums += clients.sums.length
    crashes += clients.crashes
    transfers += clients.transfers
  }
  return `histories: ${count} from seed ${first}, ${calls} calls linearizable for each key, ${transfers} transfers, ${sums} sums right, ${crashes} crashes`
}
