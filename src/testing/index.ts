/** The door `holdfast/testing`: servers, clients, a network and time of their own, in this process. */
export { type Cluster, createCluster } from "./cluster.ts";
export type { InjectionTime, NetworkInjection } from "./injection.ts";
export {
  createSimulation,
  type LinkChange,
  type LinkConditions,
  type Program,
  type Simulation,
  type SimulationOptions,
  type WaitOptions,
} from "./simulation.ts";
