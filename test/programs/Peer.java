import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.Security;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.List;
import javax.net.ssl.ExtendedSSLSession;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/**
 * A TLS server and client over JSSE, for the interop tests.
 *
 * serve PORT,PKCS12...  a server at each port
 * get                   requests on stdin; a case is HOST:PORT,NAME,VERSION,PROXY_HOST:PORT (or "-") and prints one line
 * again ROOTS HOST:PORT NAME VERSION    connects twice with one context; prints whether each connection resumed
 *
 * A server answers with a line about the session, then sends back 1 MiB.
 */
public class Peer {
  static final int SIZE = 1 << 20;

  public static void main(String[] args) throws Exception {
    // JDK 17 has TLS 1.0 and 1.1 switched off.
    Security.setProperty("jdk.tls.disabledAlgorithms", "SSLv3, RC4, DES, MD5withRSA, anon, NULL");
    if (args[0].equals("serve")) {
      for (String one : Arrays.copyOfRange(args, 1, args.length)) serve(one.split(","));
      System.out.println("READY");
    } else if (args[0].equals("again")) again(args[1], args[2].split(":"), args[3], args[4]);
    else Jsse.answerRequests(Peer::get);
  }

  static void serve(String[] one) throws Exception {
    SSLContext context = Jsse.showing(one[1]);
    SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket();
    listener.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(one[0])));
    listener.setEnabledProtocols(new String[] {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"});
    Jsse.accept(listener, Peer::answer);
  }

  static void answer(SSLSocket socket) {
    try (socket) {
      socket.startHandshake();
      ExtendedSSLSession session = (ExtendedSSLSession) socket.getSession();
      String name = session.getRequestedServerNames().isEmpty() ? "-"
          : ((SNIHostName) session.getRequestedServerNames().get(0)).getAsciiName();
      OutputStream out = socket.getOutputStream();
      out.write((session.getProtocol() + " " + session.getCipherSuite() + " " + name + "\n").getBytes());
      byte[] received = socket.getInputStream().readNBytes(SIZE);
      out.write(received);
      out.flush();
      socket.shutdownOutput();
      socket.getInputStream().readAllBytes();
    } catch (Exception error) {
      System.out.println("failed: " + error);
    }
  }

  static void get(String roots, String[] one) throws Exception {
    SSLContext context = Jsse.trusting(roots);
    Socket plain = Jsse.connect(one[0], one[3]);
    SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, one[1], 443, true);
    socket.setSoTimeout(20000);
    socket.setEnabledProtocols(new String[] {one[2]});
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    parameters.setServerNames(List.of(new SNIHostName(one[1])));
    socket.setSSLParameters(parameters);
    socket.startHandshake();
    byte[] payload = new byte[SIZE];
    new java.util.Random(7).nextBytes(payload);
    Thread writer = new Thread(() -> {
      try {
        socket.getOutputStream().write(payload);
        socket.getOutputStream().flush();
      } catch (Exception error) {
        System.out.println("failed: " + error);
      }
    });
    writer.start();
    InputStream in = socket.getInputStream();
    StringBuilder server = new StringBuilder();
    for (int c = in.read(); c != '\n' && c != -1; c = in.read()) server.append((char) c);
    boolean echoed = Arrays.equals(in.readNBytes(SIZE), payload);
    writer.join();
    boolean ended = in.read() == -1;
    SSLSession session = socket.getSession();
    X509Certificate shown = (X509Certificate) session.getPeerCertificates()[0];
    System.out.println("client " + session.getProtocol() + " " + session.getCipherSuite() + " echoed=" + echoed
        + " ended=" + ended + " server " + server + " issuer " + shown.getIssuerX500Principal().getName());
    socket.close();
  }

  static void again(String roots, String[] target, String name, String version) throws Exception {
    SSLContext context = Jsse.trusting(roots);
    long first = 0;
    for (int times = 0; times < 2; times++) {
      int port = Integer.parseInt(target[1]);
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(new Socket(target[0], port), name, port, true);
      socket.setSoTimeout(20000);
      socket.setEnabledProtocols(new String[] {version});
      SSLParameters parameters = socket.getSSLParameters();
      parameters.setServerNames(List.of(new SNIHostName(name)));
      socket.setSSLParameters(parameters);
      socket.startHandshake();
      socket.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
      socket.getInputStream().readAllBytes();
      long created = socket.getSession().getCreationTime();
      System.out.println(times > 0 && created == first);
      first = created;
      socket.close();
      // A resumed session has the creation time of the original one. Wait, so that a new one has another.
      while (System.currentTimeMillis() <= created) Thread.onSpinWait();
    }
  }
}
