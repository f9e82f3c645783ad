/** The door `holdfast/testing`: servers, clients, a network and time of their own, in this process. */
export type { CallInjection } from "./call-fault.ts";
export { type Cluster, type ClusterClientOptions, createCluster, type Injection } from "./cluster.ts";
export type { InjectionTime, NetworkInjection } from "./injection.ts";
export { createScriptedPeer, type Scripted, type ScriptedPeer, type ScriptedPeerOptions } from "./scripted-peer.ts";
export {
  createSimulation,
  type LinkChange,
  type LinkConditions,
  type Program,
  type Simulation,
  type SimulationOptions,
  type WaitOptions,
} from "./simulation.ts";
