import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.function.Consumer;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** What the peers over JSSE share. */
class Jsse {
  /** Opens the connections of one case and prints a line for each. */
  interface Client {
    void get(String roots, String[] one) throws Exception;
  }

  /** Answers each line of stdin, "ID ROOTS CASE...", with the lines of its cases between "BEGIN ID" and "END ID". */
  static void answerRequests(Client client) throws Exception {
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      String[] words = line.split(" ");
      System.out.println("BEGIN " + words[0]);
      for (String one : Arrays.copyOfRange(words, 2, words.length)) {
        try {
          client.get(words[1], one.split(","));
        } catch (Exception error) {
          System.out.println("failed: " + error);
        }
      }
      System.out.println("END " + words[0]);
    }
  }

  /** A server's context, with the key and the chain of a PKCS#12 file. */
  static SSLContext showing(String store) throws Exception {
    char[] passphrase = "changeit".toCharArray();
    KeyStore keys = KeyStore.getInstance("PKCS12");
    keys.load(new FileInputStream(store), passphrase);
    KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
    factory.init(keys, passphrase);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(factory.getKeyManagers(), null, null);
    return context;
  }

  /** Serves each connection in its own thread, for ever. */
  static void accept(SSLServerSocket listener, Consumer<SSLSocket> serve) {
    new Thread(() -> {
      try {
        while (true) {
          SSLSocket socket = (SSLSocket) listener.accept();
          new Thread(() -> serve.accept(socket)).start();
        }
      } catch (Exception error) {
        System.out.println("failed: " + error);
      }
    }).start();
  }

  /** A client's context, with the roots of a PEM file. */
  static SSLContext trusting(String roots) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    byte[] pem = Files.readAllBytes(Path.of(roots));
    for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem))) {
      store.setCertificateEntry(String.valueOf(store.size()), root);
    }
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, factory.getTrustManagers(), null);
    return context;
  }

  /** A connection to HOST:PORT, through the proxy at HOST:PORT unless that is "-". */
  static Socket connect(String target, String proxy) throws Exception {
    String host = target.split(":")[0];
    int port = Integer.parseInt(target.split(":")[1]);
    if (proxy.equals("-")) return new Socket(host, port);
    InetSocketAddress way = new InetSocketAddress(proxy.split(":")[0], Integer.parseInt(proxy.split(":")[1]));
    Socket socket = new Socket(new Proxy(Proxy.Type.HTTP, way));
    socket.connect(InetSocketAddress.createUnresolved(host, port));
    return socket;
  }
}
