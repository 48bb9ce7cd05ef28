// The provider of the source document, with the path of the import changed.
import { RealtimeProvider } from "../../src/react.js";

function AuthProvider({ children }: { children: React.ReactNode }) {
  return <>{children}</>;
}

export function Providers({ children }: { children: React.ReactNode }) {
  return (
    <AuthProvider>
      <RealtimeProvider autoConnect={true} enablePresence={true} enableTyping={true} debug={false}>
        {children}
      </RealtimeProvider>
    </AuthProvider>
  )
}
