import { expect, it } from 'vitest'
import { nodeEnv } from '../../src/env/node-env.js'
import { FairTurn } from '../../src/store/fair-turn.js'

function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

it.each([0.2, 2, 10, 25])('a loop of steps of %d ms lets the event loop turn', async (stepMs) => {
  const fairTurn = new FairTurn(nodeEnv.clock)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  let waits = 0
  for (const end = performance.now() + 150; performance.now() < end; ) {
    block(stepMs)
    const turn = fairTurn.due()
    if (turn) waits++
    await turn
  }
  clearInterval(timer)
  expect(waits).toBeGreaterThan(1)
  expect(turns).toBeGreaterThan(1)
})

it('asks for no turn where the loop turns by itself', async () => {
  const fairTurn = new FairTurn(nodeEnv.clock)
  for (let i = 0; i < 20; i++) {
    expect(fairTurn.due()).toBeUndefined()
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
  }
})
