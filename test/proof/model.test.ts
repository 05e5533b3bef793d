import { itMatchesTheModel } from '../model/run-histories.js'
import { DEPTH } from './depth.js'

itMatchesTheModel('leveled', 900 * DEPTH)
itMatchesTheModel('tiered', 400 * DEPTH)
