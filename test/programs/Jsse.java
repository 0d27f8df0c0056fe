import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** What every peer over JSSE begins with. */
class Jsse {
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
